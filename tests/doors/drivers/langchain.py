"""``lorestream.langchain``: the answer as a Runnable, alone and as a link of a chain."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from pydantic import SecretStr

from lorestream.errors import LorestreamError
from lorestream.langchain import LorestreamAnswer
from tests.doors.client import Driver, Seen, Target


class Streamed:
    """``LorestreamAnswer.astream``; it stops by closing the stream."""

    name, names_model, sourced = "LangChain LorestreamAnswer.astream", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen = Seen()
        answer = LorestreamAnswer(url=target.url, token=SecretStr(target.token), model=target.model)
        stream = answer.astream(target.question)
        try:
            async for piece in stream:
                assert isinstance(piece, AIMessageChunk)
                seen.text += piece.text
                if "sources" in piece.response_metadata:
                    seen.sources = len(piece.response_metadata["sources"])
                if stop and piece.text:
                    seen.stop()
                    await stream.aclose()  # type: ignore[attr-defined]
                    return seen
        except LorestreamError as failed:
            seen.end = f"{failed.code}: {failed.message}"
        else:
            seen.end = "done"
        return seen


class Chain:
    """A chain ``prompt | LorestreamAnswer | StrOutputParser``; it stops by closing the chain's stream."""

    name, names_model, sourced = "LangChain prompt | LorestreamAnswer | parser", True, False

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen = Seen()
        answer = LorestreamAnswer(url=target.url, token=SecretStr(target.token), model=target.model)
        stream = (ChatPromptTemplate.from_template("{question}") | answer | StrOutputParser()).astream(
            {"question": target.question}
        )
        try:
            async for piece in stream:
                seen.text += piece
                if stop and piece:
                    seen.stop()
                    await stream.aclose()  # type: ignore[attr-defined]
                    return seen
        except LorestreamError as failed:
            seen.end = f"{failed.code}: {failed.message}"
        else:
            seen.end = "done"
        return seen


DRIVERS: list[Driver] = [Streamed(), Chain()]
