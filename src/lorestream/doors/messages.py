"""A client's list of chat messages as what it asks: the newest question, what came before it, its own instructions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from lorestream.conversations.models import Turn
from lorestream.errors import InvalidInput

Role = Literal["system", "user", "assistant"]


class Asked(NamedTuple):
    """What a list of messages asks."""

    question: str
    history: list[Turn]
    instructions: str


def asked(messages: Iterable[tuple[Role, str]]) -> Asked:
    """Read (role, text) in the order of the chat; messages of one side in a row are one, blank ones none.

    What an assistant says before anybody has asked (a greeting) is left out: it answers nothing. Raises InvalidInput
    where the last message is not the user's.
    """
    wishes: list[str] = []
    questions: list[str] = []
    history: list[Turn] = []
    for role, text in messages:
        if not text.strip():
            continue
        match role:
            case "system":
                wishes.append(text)
            case "user":
                questions.append(text)
            case "assistant" if questions:
                history.append(Turn("\n\n".join(questions), text))
                questions = []
            case "assistant" if history:
                history[-1] = Turn(history[-1].question, f"{history[-1].answer}\n\n{text}")
    if not questions:
        raise InvalidInput("The last message must be the user's, and say something.")
    return Asked("\n\n".join(questions), history, "\n\n".join(wishes))
