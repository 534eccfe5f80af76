"""Stop texts: the answer is cut before the first, wherever the pieces of the stream are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lorestream.conversations.stops import StopScanner

TEXTS = st.text(alphabet="ab\n", max_size=12)


@given(st.lists(TEXTS, max_size=8), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_answer_ends_before_the_stop_text_that_comes_first(pieces: list[str], stops: list[str]) -> None:
    scanner, shown = StopScanner(stops), ""
    for piece in pieces:
        shown += scanner.feed(piece)
    whole = "".join(pieces)
    # Character by character: the first moment at which some stop text is complete decides.
    seen = next((end for end in range(len(whole) + 1) if any(stop in whole[:end] for stop in stops)), None)
    assert scanner.hit == (seen is not None)
    if seen is None:
        assert shown + scanner.rest() == whole
    else:
        assert whole.startswith(shown)
        assert any(whole[len(shown) :].startswith(stop) for stop in stops)
        assert not any(stop in shown for stop in stops)
        assert scanner.rest() == ""


def test_nothing_is_held_back_that_cannot_begin_a_stop_text() -> None:
    scanner = StopScanner(["END"])
    assert scanner.feed("Paris") == "Paris"
    assert scanner.feed(" E") == " "
    assert scanner.feed("iffel") == "Eiffel"
