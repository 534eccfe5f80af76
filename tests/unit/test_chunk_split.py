"""Passages cover the text, are exact, bounded, and follow its structure."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorestream.documents.chunk import Chunk, embedding_text, split
from lorestream.documents.formats.markdown import outline
from lorestream.documents.parse import Heading, Page, Parsed

Span = tuple[int, int]


def words(text: str) -> list[Span]:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


def few_and_long(text: str) -> list[Span]:
    return [match.span() for match in re.finditer(r"\S+", text)]


def every_character(text: str) -> list[Span]:
    return [(n, n + 1) for n, character in enumerate(text) if not character.isspace()]


def no_tokens(text: str) -> list[Span]:
    return []


def covered(text: str, chunks: Sequence[Chunk]) -> bool:
    seen = bytearray(len(text))
    for chunk in chunks:
        seen[chunk.start : chunk.end] = b"\x01" * (chunk.end - chunk.start)
    return all(seen[n] or character.isspace() for n, character in enumerate(text))


PROSE = st.text(st.sampled_from("aäß東. !?\n\n\t|#-*>1é🦜\u200b\u0301\xa0\u2028“”\x85"), max_size=400)
ANY_TEXT = st.one_of(PROSE, st.text(max_size=200), st.lists(PROSE, max_size=8).map("\n\n".join))


@given(
    text=ANY_TEXT,
    tokenise=st.sampled_from([words, few_and_long, every_character, no_tokens]),
    max_tokens=st.integers(1, 40),
    overlap=st.integers(0, 30),
    markdown=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
@settings(max_examples=400, deadline=None)
def test_every_visible_character_is_in_an_exact_and_bounded_passage(
    text: str, tokenise: Callable[[str], list[Span]], max_tokens: int, overlap: int, markdown: bool, cuts: list[int]
) -> None:
    parsed = outline(text) if markdown else Parsed(text)
    edges = sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)})
    parsed.pages = [Page(n, a, b) for n, (a, b) in enumerate(itertools.pairwise(edges), 1)]
    chunks = split(parsed, tokenise, max_tokens=max_tokens, overlap_tokens=overlap)
    assert covered(text, chunks)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    starts = [start for start, _ in tokenise(text)]
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.text == chunk.text.strip() != ""
        assert sum(chunk.start <= start < chunk.end for start in starts) == chunk.tokens <= max_tokens
        assert len(chunk.text) <= 16 * max_tokens
        page = next(page for page in parsed.pages if page.number == chunk.page)
        assert page.start <= chunk.start
    assert all(a.start < b.start and a.end < b.end for a, b in itertools.pairwise(chunks))


def test_paragraphs_are_kept_whole_and_put_together_while_they_fit() -> None:
    text = "one two three\n\nfour five\n\nsix seven eight nine\n"
    assert [chunk.text for chunk in split(Parsed(text), words, max_tokens=6, overlap_tokens=2)] == [
        "one two three\n\nfour five",
        "six seven eight nine",
    ]


def test_a_long_paragraph_is_split_at_sentences_that_overlap() -> None:
    text = "The crane lifts crates. It hums. Nobody hears it now. Everyone had gone home."
    chunks = split(Parsed(text), words, max_tokens=10, overlap_tokens=3)
    assert [chunk.text for chunk in chunks] == [
        "The crane lifts crates. It hums.",
        "It hums. Nobody hears it now.",
        "Everyone had gone home.",
    ]


def test_a_long_sentence_is_cut_after_white_space() -> None:
    chunks = split(Parsed("alpha beta gamma delta epsilon zeta"), words, max_tokens=4, overlap_tokens=0)
    assert [chunk.text for chunk in chunks] == ["alpha beta gamma delta", "epsilon zeta"]


def test_passages_stay_under_their_headings() -> None:
    text = "# Crane\n\nIntro.\n\n## Use\n\n### Limits\n\nTen tonnes.\n\n## Care\n\nGrease it.\n"
    chunks = split(outline(text), words)
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [
        ("Crane", "# Crane\n\nIntro."),
        ("Crane > Use > Limits", "## Use\n\n### Limits\n\nTen tonnes."),
        ("Crane > Care", "## Care\n\nGrease it."),
    ]


def test_a_heading_stays_with_the_first_sentences_of_a_long_paragraph() -> None:
    text = "## Care\n\nGrease the hook well. Check the rope daily."
    chunks = split(outline(text), words, max_tokens=8, overlap_tokens=0)
    assert [chunk.text for chunk in chunks] == ["## Care\n\nGrease the hook well.", "Check the rope daily."]


def test_text_before_the_first_heading_has_none() -> None:
    chunks = split(outline("Preface.\n\n# One\n\nBody."), words)
    assert [chunk.heading for chunk in chunks] == ["", "One"]


def test_a_passage_is_on_one_page() -> None:
    text = "first page\n\nsecond page\n\n\n\nfourth page"
    pages = [Page(1, 0, 10), Page(2, 12, 23), Page(3, 25, 25), Page(4, 27, 38)]
    chunks = split(Parsed(text, pages=pages), words)
    assert [(chunk.page, chunk.text) for chunk in chunks] == [(1, "first page"), (2, "second page"), (4, "fourth page")]


def test_rows_of_a_table_are_kept_whole() -> None:
    rows = [f"| Dr. No. {n} | about 4. Yes! |" for n in range(20)]
    chunks = split(Parsed("\n".join(rows)), words, max_tokens=30, overlap_tokens=0)
    assert len(chunks) > 5
    assert [row for chunk in chunks for row in chunk.text.split("\n")] == rows


def test_headings_alone_are_passages_too() -> None:
    assert [chunk.text for chunk in split(outline("# One\n\n## Two"), words)] == ["# One\n\n## Two"]


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u3000"])
def test_a_blank_text_has_no_passages(text: str) -> None:
    assert split(Parsed(text), words) == []


@pytest.mark.parametrize(
    "text",
    [
        "word " * 400_000,
        "A sentence of some length. " * 80_000,
        "x" * 2_000_000,
        " " * 1_000_000 + "x" + "\n \n" * 300_000 + "y",
        "短い文。" * 400_000,
        "| a. | b |\n" * 200_000,
        "# h\n" * 300_000,
        "para\n\n" * 300_000,
        ".!?" * 600_000,
    ],
    ids=["words", "sentences", "one word", "blanks", "cjk", "table", "headings", "paragraphs", "signs"],
)
def test_large_texts_take_linear_time(text: str) -> None:
    started = time.perf_counter()
    chunks = split(outline(text), words)
    assert time.perf_counter() - started < 20
    assert max(len(chunk.text) for chunk in chunks) <= 16 * 230


def test_what_is_embedded_begins_with_title_and_heading() -> None:
    chunk = split(outline("# Crane\n\n## Use\n\nLift."), words)[0]
    assert embedding_text("Harbour", chunk) == "Harbour > Crane > Use\n# Crane\n\n## Use\n\nLift."
    assert embedding_text("Crane", chunk).startswith("Crane > Use\n")
    assert embedding_text("", chunk).startswith("Crane > Use\n")


def test_the_prefix_takes_only_the_room_that_is_left() -> None:
    parsed = Parsed("w " * 200, headings=[Heading(0, 0, 1, "")])
    (chunk,) = split(parsed, words, max_tokens=230)
    assert embedding_text("A very long title " * 30, chunk, max_tokens=200) == chunk.text
    limited = embedding_text("A very long title " * 30, chunk, max_tokens=220)
    assert limited.startswith("A very long title")
    assert len(words(limited)) <= 220
