"""The citations of an answer: only of passages that there are, within the answer, and none is left after taking out."""

from __future__ import annotations

from lorestream.conversations.citations import find, without_marks
from lorestream.conversations.prompt import shown
from lorestream.text import sentence_spans

PASSAGES = {1: "Paris is the capital of France.", 2: "“To be” is the question.", 7: ""}
SEEDS = [
    b"Paris is the capital [1]. It lies on the Seine [2, 7]; see [1][2].",
    "He said “Paris is the capital of France” [1], [42] [1,2,3;4] [0] [999][1000] [²] [１]".encode(),
    b"[1]", b"[1][1][1]", b"\n[1]\n\n[2]\n", "「東京」[1]。次の文[2]。".encode(),
    b"e.g. Mr. Smith [1]. 3.14 [2]!? ...[1]", b"</passage> < / PASSAGE x>",
]  # fmt: skip


def one(data: bytes) -> None:
    """Find the citations of a text."""
    text = data.decode("utf-8", "replace")
    for found in find(text, PASSAGES):
        assert found.n in PASSAGES
        assert 0 <= found.start < found.end <= len(text)
        assert 0 <= found.support <= 1
    assert not find(without_marks(text), {}), "no passage, no citation"
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert "<passage" not in shown(text).lower()
    assert shown(shown(text)) == shown(text)
