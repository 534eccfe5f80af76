"""Words and sentences of plain text: what chunking, quoting and lexical search agree on. Pure functions."""

from __future__ import annotations

import re

# A sentence ends at . ! ? … (with closing quotes or brackets) before white space, at a CJK full stop, or at a
# line that stands alone (blank line, list item, heading). Linear: no nested quantifiers.
_BOUNDARY = re.compile(
    r"""(?<![.!?…])[.!?…]++["'”’»)\]]{0,3}(?=\s)|[。！？]["'”’」』）]{0,3}|\n(?=[^\S\n]*\n|[^\S\n]{0,8}(?:[-*•#|>]|\d{1,3}[.)]))"""
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|No|Nr|vs|etc|cf|ca|al|Fig|fig|Eq|Vol|vol|pp|ed|Inc|Ltd|Co|Jan|"
    r"Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|bzw|usw|Abb|Bd|Art|Sra|Ud|Gen|Col|Lt|Rev|Gov|Sen|Rep|U\.S|"
    r"U\.K|e\.g|i\.e|a\.m|p\.m|z\.B|d\.h))\.$"
)
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_LOOK_BACK = 12

STOP_WORDS = frozenset(
    """
    a about after all also an and any are as at be been before being between both but by can could did do does
    doing during each for from had has have having he her here hers him his how i if in into is it its itself
    just me more most my no nor not of off on once only or other our out over own same she should so some such
    than that the their them then there these they this those through to too under until up very was we were
    what when where which while who whom why will with would you your yours aber als am an auch auf aus bei bin
    bis da das dass dem den der des die dies diese dieser dieses durch ein eine einem einen einer eines er es
    für hat haben hatte ich ihr im in ist ja kann mit nach nicht noch nur oder sein sich sie sind so über um und
    uns unter vom von vor war waren warum was welche welchem welchen welcher welches wenn wer werden wie wir
    wird wo wurde wurden zu zum zur al como con cuál cuáles cuándo cuánto cuántos de del desde donde dónde el
    ella ellos en entre era es esta este esto fue fueron ha han hasta la las le les lo los más muy ni no o para
    pero por qué que quién se según ser si sin sobre son su sus también tiene un una uno unos y ya
    """.split()
)


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order; a possessive 's is dropped."""
    found: list[str] = _WORD.findall(text.lower())
    return [word[:-2] if word.endswith(("'s", "’s")) else word for word in found]


def content_words(text: str) -> list[str]:
    """The words without stop words (English, German, Spanish); all words where nothing else is left."""
    found = words(text)
    return [word for word in found if word not in STOP_WORDS] or found


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """The (start, end) offsets of the sentences, in order, without the white space around them.

    ``text[start:end]`` is the sentence exactly as written; every character that is not white space is in one span.
    """
    spans: list[tuple[int, int]] = []
    begin = 0
    for match in _BOUNDARY.finditer(text):
        end = match.end()
        if text[match.start()] == "." and _ABBREVIATION.search(text, max(begin, end - _LOOK_BACK), end):
            continue
        _append_stripped(spans, text, begin, end)
        begin = end
    _append_stripped(spans, text, begin, len(text))
    return spans


def _append_stripped(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    stripped = piece.strip()
    if stripped:
        lead = len(piece) - len(piece.lstrip())
        spans.append((start + lead, start + lead + len(stripped)))
