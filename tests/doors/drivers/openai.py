"""What people have for OpenAI: its Python client in its three ways, LangChain's chat model, and its client for Node."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from langchain_openai import ChatOpenAI

from openai import APIError, AsyncOpenAI, DefaultAsyncHttpxClient, OpenAI
from tests.doors.client import Driver, Script, Seen, Target, left


def options(target: Target) -> dict[str, Any]:
    return {"base_url": f"{target.url}/v1", "api_key": target.token, "max_retries": 0}


def asked(target: Target) -> dict[str, Any]:
    return {"model": target.model, "messages": [{"role": "user", "content": target.question}]}


def note(seen: Seen, chunk: Any) -> None:
    """Take in one chunk as the official client gives it."""
    beside = chunk.model_extra
    if "sources" in beside:
        seen.sources = len(beside["sources"])
    for choice in chunk.choices:
        seen.text += choice.delta.content or ""
        if choice.finish_reason:
            seen.end = "done"


class Streamed:
    """``AsyncOpenAI``, streamed; it stops by closing the stream."""

    name, names_model, sourced = "openai (Python, async) POST /v1/chat/completions", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen = Seen(end="the connection ended")
        async with AsyncOpenAI(**options(target)) as client:
            try:
                async with await client.chat.completions.create(**asked(target), stream=True) as stream:
                    async for chunk in stream:
                        note(seen, chunk)
                        if stop and seen.text:
                            seen.stop()
                            break
            except APIError as error:
                seen.end = str(error)
        return seen


class Threaded:
    """``OpenAI``, which blocks its thread; it stops by leaving the block."""

    name, names_model, sourced = "openai (Python) POST /v1/chat/completions", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        return await asyncio.to_thread(self._ask, target, stop)

    def _ask(self, target: Target, stop: bool) -> Seen:
        seen = Seen(end="the connection ended")
        with OpenAI(**options(target)) as client:
            try:
                with client.chat.completions.create(**asked(target), stream=True) as stream:
                    for chunk in stream:
                        note(seen, chunk)
                        if stop and seen.text:
                            seen.stop()
                            break
            except APIError as error:
                seen.end = str(error)
        return seen


class Whole:
    """``AsyncOpenAI``, the whole answer at once; it stops by leaving."""

    name, names_model, sourced = "openai (Python) POST /v1/chat/completions, not streamed", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        async with AsyncOpenAI(**options(target)) as client:
            asking = asyncio.create_task(client.chat.completions.create(**asked(target)))
            if stop:
                return await left(target, asking)
            try:
                answer = await asking
            except APIError as error:
                return Seen(end=str(error))
        beside = answer.model_extra or {}
        return Seen(answer.choices[0].message.content or "", len(beside["sources"]), "done")


class LangChain:
    """LangChain's ``ChatOpenAI``, which shows no more than text."""

    name, names_model, sourced = "langchain_openai.ChatOpenAI.astream", True, False

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen = Seen(end="the connection ended")
        # Its own one is never closed.
        async with DefaultAsyncHttpxClient() as http:
            model = ChatOpenAI(model=target.model or "", http_async_client=http, **options(target))
            try:
                async with aclosing(model.astream(target.question)) as pieces:  # type: ignore[type-var]
                    async for piece in pieces:
                        seen.text += str(piece.content)
                        if piece.response_metadata.get("finish_reason"):
                            seen.end = "done"
                        if stop and seen.text:
                            seen.stop()
                            break
            except APIError as error:
                seen.end = str(error)
        return seen


DRIVERS: list[Driver] = [
    Streamed(),
    Threaded(),
    Whole(),
    LangChain(),
    Script("openai (Node) POST /v1/chat/completions", "openai.mjs", names_model=True),
]
