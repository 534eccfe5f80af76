"""``lorestream.langchain``: the answer as a Runnable, alone and as a link of a chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from pydantic import SecretStr

from lorestream.errors import LorestreamError
from lorestream.langchain import LorestreamAnswer
from tests.doors.client import Driver, Seen, Target


async def read(stream: AsyncIterator[Any], note: Callable[[Seen, Any], str], *, stop: bool) -> Seen:
    """What a stream gives; ``note`` takes in a piece and tells its text. Stopped by closing the stream."""
    seen = Seen()
    try:
        async for piece in stream:
            text = note(seen, piece)
            seen.text += text
            if stop and text:
                seen.stop()
                await stream.aclose()  # type: ignore[attr-defined]
                return seen
    except LorestreamError as failed:
        seen.end = f"{failed.code}: {failed.message}"
    else:
        seen.end = "done"
    return seen


def answer_of(target: Target) -> LorestreamAnswer:
    return LorestreamAnswer(url=target.url, token=SecretStr(target.token), model=target.model)


def noted(seen: Seen, piece: Any) -> str:
    """A piece of ``LorestreamAnswer``, of which one has the sources."""
    assert isinstance(piece, AIMessageChunk)
    if "sources" in piece.response_metadata:
        seen.sources = len(piece.response_metadata["sources"])
    return str(piece.text)


class Streamed:
    """``LorestreamAnswer.astream``; it stops by closing the stream."""

    name, names_model, sourced = "LangChain LorestreamAnswer.astream", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        return await read(answer_of(target).astream(target.question), noted, stop=stop)


class Chain:
    """A chain ``prompt | LorestreamAnswer | StrOutputParser``; it stops by closing the chain's stream."""

    name, names_model, sourced = "LangChain prompt | LorestreamAnswer | parser", True, False

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        chain = ChatPromptTemplate.from_template("{question}") | answer_of(target) | StrOutputParser()
        return await read(chain.astream({"question": target.question}), lambda _seen, piece: str(piece), stop=stop)


DRIVERS: list[Driver] = [Streamed(), Chain()]
