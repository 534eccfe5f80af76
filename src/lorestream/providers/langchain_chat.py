"""Any LangChain chat model as a language model: ``langchain:MODULE:NAME``, from the operator's own settings alone.

NAME is a chat model in that module, or a class or function that makes one; arguments may follow as in an address
(``langchain:langchain_ollama:ChatOllama?model=llama3.2``), each JSON or else a string. Nothing of LangChain is imported
here: a chat model is what has ``astream``.

Each answer has a task of its own that reads the model's stream, so that whatever the integration keeps in its context
is entered and left in one place, and a Stop meets it where it waits for the network: that unwinds its client and
closes the connection. An integration without an asynchronous stream runs in a thread, which nothing can stop; ``note``
says so.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

from lorestream.errors import (
    FirstTokenTimeout,
    IdleTimeout,
    LimitReached,
    ModelNotFound,
    ModelProtocolError,
    ModelUnavailable,
    RunFailed,
    StartRefused,
    UpstreamTruncated,
)
from lorestream.providers.base import Delta, Finish, FinishReason, Generation, Prompt, Usage
from lorestream.providers.chunks import TextMender
from lorestream.providers.refusals import failure_of, reported_failure

log = logging.getLogger(__name__)

FORM = re.compile(
    r"langchain:(?P<module>[A-Za-z_][\w.]{0,199}):(?P<name>[A-Za-z_]\w{0,199})(\?(?P<arguments>\S{0,1000}))?"
)
# Integrations whose connections were measured to close on Stop, and that always say how an answer ended.
TESTED = {"langchain_ollama", "langchain_openai"}
TELLING = TESTED | {
    *("langchain_anthropic", "langchain_aws", "langchain_deepseek", "langchain_fireworks", "langchain_google_genai"),
    *("langchain_google_vertexai", "langchain_groq", "langchain_mistralai", "langchain_together", "langchain_xai"),
}
BUFFER_CHARACTERS = 4 * 1024 * 1024  # that a model may be ahead of whoever reads it
TURN_SECONDS = 0.001  # a client whose data is always there would never let anything else run
END_SECONDS, CANCELLATIONS = 0.4, 4  # for an integration to let go of its connection
REASON_KEYS = ("finish_reason", "done_reason", "stop_reason", "finishReason", "stopReason", "status")
REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos_token", "complete", "completed", "eos"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length", "incomplete"), "length"),
    **dict.fromkeys(("content_filter", "content_filtered", "refusal", "safety"), "content_filter"),
}
# By name, because every client has exceptions of its own; each is a superclass in one of them.
TOO_LATE = {"TimeoutException", "APITimeoutError", "TimeoutError", "ReadTimeoutError"}
NO_CONNECTION = {"TransportError", "APIConnectionError", "OSError", "ClientError", "HTTPClientError"}
NONSENSE = {"JSONDecodeError", "ValidationError", "UnicodeDecodeError"}
_LIKE_A_KEY = re.compile(r"[\w-]{20,}")


class LangChainModel:
    """The chat model of the settings; ``open`` imports it."""

    def __init__(self, spec: str) -> None:
        """Take ``langchain:MODULE:NAME``, with or without arguments; nothing is imported yet. Raises StartRefused."""
        found = FORM.fullmatch(spec)
        if found is None:
            raise StartRefused(
                f"{spec.partition('?')[0]!r} is not langchain:MODULE:NAME, such as langchain:models:chat."
            )
        self._module, self._name = found["module"], found["name"]
        self._arguments = dict(parse_qsl(found["arguments"] or "", keep_blank_values=True))
        self._model: Any = None
        self._tells = False

    @property
    def name(self) -> str:
        """``langchain:MODULE:NAME``; never the arguments, which may hold a key."""
        return f"langchain:{self._module}:{self._name}"

    @property
    def note(self) -> tuple[str, str]:
        """What this integration cannot promise, and what to do about it; two empty strings if nothing."""
        model, package = _bound(self._model), _package(self._model)
        if not _streams(model):
            return "it has no asynchronous stream: after Stop its request runs on to its end", "Use ollama: or openai:."
        if package not in TESTED:
            end = "" if self._tells else "; nor does it say whether an answer is whole"
            return f"that Stop closes the connection is not tested with {package}{end}", "Try Stop with it once."
        return "", ""

    async def open(self) -> None:
        """Import the module and make the model, in a thread. Raises StartRefused with what is missing."""
        self._model = await asyncio.to_thread(self._load)
        self._tells = _package(self._model) in TELLING

    async def close(self) -> None:
        """Forget the model."""
        self._model = None

    def stream(self, prompt: Prompt, how: Generation) -> AsyncGenerator[list[Delta], None]:
        """Stream one answer (see ``ChatModel``). Temperature is the model's own, and its limit is never raised."""
        messages = [(message.role, message.content) for message in prompt.messages]
        return self._stream(_fitted(self._model, how).astream(messages), how)

    async def _stream(self, chunks: AsyncIterator[Any], how: Generation) -> AsyncGenerator[list[Delta], None]:
        loop = asyncio.get_running_loop()
        flow = _Flow(self._tells)
        overdue: type[RunFailed] = FirstTokenTimeout
        deadline = loop.time() + how.first_token_seconds
        task = loop.create_task(flow.fill(chunks), name="langchain")
        try:
            while not flow.over:
                try:
                    async with asyncio.timeout_at(deadline):
                        batch = await flow.take()
                except TimeoutError:
                    raise overdue from None
                if batch:
                    yield batch
                    self._tells = self._tells or flow.told
                    deadline, overdue = loop.time() + how.idle_seconds, IdleTimeout
            if isinstance(flow.failure, ModelNotFound):
                raise ModelNotFound(f"The server of {self.name} does not have the model that it names.")
            if flow.failure:
                raise flow.failure
        finally:
            flow.stopped = True
            if not await _ended(task):
                log.warning("%s did not let go of its request within %g s", self.name, END_SECONDS)

    def _load(self) -> Any:
        try:
            thing = getattr(importlib.import_module(self._module), self._name)
        except ModuleNotFoundError as error:
            raise StartRefused(
                f"LORESTREAM_MODEL={self.name}: there is no Python module {error.name!r} here. Install its package "
                "into this environment (pip install), or name the folder of your own in PYTHONPATH."
            ) from None
        except AttributeError:
            raise StartRefused(f"LORESTREAM_MODEL={self.name}: {self._module} has nothing of that name.") from None
        except Exception as error:
            log.exception("%s could not be imported", self._module)
            raise StartRefused(f"LORESTREAM_MODEL={self.name}: importing {self._module} failed; see above.") from error
        if callable(thing) and (isinstance(thing, type) or not hasattr(thing, "astream")):
            thing = self._make(thing)
        elif self._arguments:
            raise StartRefused(f"LORESTREAM_MODEL={self.name} is made already: it takes no arguments.")
        if not callable(getattr(thing, "astream", None)):
            raise StartRefused(f"LORESTREAM_MODEL={self.name} is no chat model of LangChain: it has no astream().")
        return thing

    def _make(self, factory: Any) -> Any:
        try:
            return factory(**{name: _value(text) for name, text in self._arguments.items()})
        except Exception as error:  # noqa: BLE001 (an integration's own complaint, which goes to the log)
            log.error("%s could not be made: %s", self.name, _LIKE_A_KEY.sub("***", str(error))[:1000])
            raise StartRefused(
                f"LORESTREAM_MODEL={self.name} could not be made with these arguments; see above."
            ) from None


class _Flow:
    """What a model has said and nobody has taken: filled by one task, taken in batches by another."""

    def __init__(self, tells: bool) -> None:
        self.failure: RunFailed | None = None
        self.told = False  # how the answer ended
        self.stopped = False  # nobody takes any more
        self._tells = tells
        self._deltas: list[Delta] = []
        self._characters = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._text, self._thought = TextMender(), TextMender()
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None

    @property
    def over(self) -> bool:
        """Whether all was taken and nothing more comes."""
        return self._ended and not self._deltas

    async def take(self) -> list[Delta]:
        """All there is, once there is some; nothing at the end. For one consumer."""
        if not self._deltas and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken, self._deltas = self._deltas, []
        self._characters = 0
        return taken

    async def fill(self, chunks: AsyncIterator[Any]) -> None:
        """Take all that the model says; a failure is kept for when that was taken."""
        begun = False
        try:
            turn = time.monotonic()
            async with aclosing(_closable(chunks)):
                async for chunk in chunks:
                    if self.stopped:  # and a wait_for of the integration's lost the cancellation (CPython before 3.12)
                        return
                    begun = self._add(chunk) or begun
                    if time.monotonic() - turn > TURN_SECONDS:
                        await asyncio.sleep(0)
                        turn = time.monotonic()
            self._finish()
        except Exception as error:  # noqa: BLE001 (whatever it was, the answer has failed; which way is found out)
            self.failure = failure_from(error, begun=begun)
            log.warning("a LangChain model failed with %s: %s", type(error).__name__, self.failure.code)
        finally:
            self._ended = True
            self._wake()

    def _add(self, chunk: Any) -> bool:
        """Keep what a chunk says; whether it was some text."""
        said, thought = _texts(chunk)
        delta = Delta(self._text.feed(said), self._thought.feed(thought))
        metadata = getattr(chunk, "response_metadata", None) or {}
        for key in REASON_KEYS:
            if isinstance(reason := metadata.get(key), str) and reason:
                self._reason = reason
                break
        self._model = metadata.get("model_name") or metadata.get("model") or self._model
        self._count(getattr(chunk, "usage_metadata", None))
        if not delta.text and not delta.reasoning:
            return False
        self._characters += len(delta.text) + len(delta.reasoning)
        if self._characters > BUFFER_CHARACTERS:
            raise LimitReached
        self._deltas.append(delta)
        self._wake()
        return True

    def _count(self, counted: Any) -> None:
        """Counters of several chunks are added, as LangChain itself does when it joins them."""
        if counted:
            before = self._usage or Usage(0, 0, 0)
            self._usage = Usage(
                before.prompt_tokens + counted.get("input_tokens", 0),
                before.completion_tokens + counted.get("output_tokens", 0),
                before.total_tokens + counted.get("total_tokens", 0),
            )

    def _finish(self) -> None:
        if self._reason is None and self._tells:
            raise UpstreamTruncated
        reason = REASONS.get((self._reason or "stop").lower())
        if reason is None:
            log.warning("a model ended an answer for an unknown reason: %.100r", self._reason)
            raise UpstreamTruncated
        if rest := self._text.flush():
            self._deltas.append(Delta(rest))
        self.told = self._reason is not None
        self._deltas.append(Delta(finish=Finish(reason, self._usage, self._model)))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def _ended(task: asyncio.Task[None]) -> bool:
    """Cancel, and again where that went unheard; whether the task ended in END_SECONDS."""
    for _ in range(CANCELLATIONS):
        task.cancel()
        done, _pending = await asyncio.wait([task], timeout=END_SECONDS / CANCELLATIONS)
        if done:
            return True
    return False


def failure_from(error: BaseException, *, begun: bool) -> RunFailed:
    """The failure that an exception of any vendor's client stands for; ``begun``: the answer had begun."""
    chain = list(_causes(error))
    for one in chain:
        if isinstance(one, RunFailed):
            return one
        answer = getattr(one, "response", None)
        status = getattr(one, "status_code", None) or getattr(answer, "status_code", None)
        if isinstance(status, int) and 300 <= status < 600:
            wait = (getattr(answer, "headers", None) or {}).get("retry-after")
            return failure_of(status, _words(one), wait, "the key of this LangChain model")
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if names & TOO_LATE:
        return IdleTimeout() if begun else FirstTokenTimeout()
    if names & NO_CONNECTION:
        return UpstreamTruncated() if begun else ModelUnavailable()
    if names & NONSENSE:
        return ModelProtocolError()
    return reported_failure(_words(error))


def _words(error: BaseException) -> bytes:
    """What an exception says, and the body of the answer that some carry."""
    return f"{error} {getattr(error, 'body', '')}"[:4096].encode("utf-8", "replace")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _texts(chunk: Any) -> tuple[str, str]:
    """The text and the reasoning of a chunk, whose content is a string or a list of strings and typed blocks."""
    content = getattr(chunk, "content", chunk)
    text, reasoning = "", ""
    for block in [content] if isinstance(content, str) else content or ():
        if isinstance(block, str):
            text += block
        elif block.get("type") in {"text", "text_delta", "output_text"}:
            text += block.get("text") or ""
        elif block.get("type") in {"thinking", "reasoning"}:
            parts = block.get("summary") or ()
            reasoning += block.get("thinking") or block.get("reasoning") or "".join(p.get("text", "") for p in parts)
    extra = getattr(chunk, "additional_kwargs", None) or {}
    return text, reasoning or extra.get("reasoning_content") or ""


def _fitted(model: Any, how: Generation) -> Any:
    """The model with what we ask of an answer, where it has fields for that; what its maker set is kept."""
    fields = getattr(type(model), "model_fields", None)
    if not fields or not callable(getattr(model, "model_copy", None)):
        return model
    chosen: dict[str, Any] = {}
    for name in ("num_predict", "max_tokens", "max_output_tokens"):
        if name in fields:
            most = getattr(model, name)
            chosen[name] = (
                min(most, how.max_output_tokens) if isinstance(most, int) and most > 0 else how.max_output_tokens
            )
            break
    unset = fields.keys() - model.model_fields_set
    wanted = {"num_ctx": how.context_tokens, "stream_usage": True}
    return model.model_copy(update=chosen | {name: value for name, value in wanted.items() if name in unset})


def _bound(model: Any) -> Any:
    """The chat model inside what LangChain may have put around it."""
    for _ in range(10):
        if (inner := getattr(model, "bound", None)) is None:
            return model
        model = inner
    return model


def _package(model: Any) -> str:
    return type(_bound(model)).__module__.partition(".")[0]


def _streams(model: Any) -> bool:
    """Whether it reads asynchronously: LangChain's own base class has a ``_astream`` that runs it in a thread."""
    found = next((kind for kind in type(model).__mro__ if "_astream" in vars(kind)), None)
    return found is None or found.__module__ != "langchain_core.language_models.chat_models"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _closable(chunks: AsyncIterator[Any]) -> Any:
    return chunks if hasattr(chunks, "aclose") else _Open()


class _Open:
    """What has nothing to close."""

    async def aclose(self) -> None:
        pass
