"""A client's chat messages: what is asked, what came before, what the client wants."""

from __future__ import annotations

from typing import Any

import pytest

from lorestream.conversations.models import Turn
from lorestream.doors.messages import asked
from lorestream.errors import InvalidInput


@pytest.mark.parametrize(
    ("messages", "question", "history", "instructions"),
    [
        ([("user", "Hi?")], "Hi?", [], ""),
        ([("system", "Be brief."), ("user", "Hi?"), ("system", "And kind.")], "Hi?", [], "Be brief.\n\nAnd kind."),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], "c", [Turn("a", "b")], ""),
        ([("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e"), ("user", "f")],
         "e\n\nf", [Turn("a\n\nb", "c\n\nd")], ""),
        ([("assistant", "How can I help?"), ("user", "a")], "a", [], ""),
        ([("user", "a"), ("assistant", " "), ("user", "b")], "a\n\nb", [], ""),
    ],
)  # fmt: skip
def test_messages_are_read_as_a_question_with_its_history(
    messages: list[Any], question: str, history: list[Turn], instructions: str
) -> None:
    assert asked(messages) == (question, history, instructions)


@pytest.mark.parametrize("messages", [[], [("system", "x")], [("user", " \n")], [("user", "a"), ("assistant", "b")]])
def test_messages_that_ask_nothing_are_refused(messages: list[Any]) -> None:
    with pytest.raises(InvalidInput, match="last message"):
        asked(messages)
