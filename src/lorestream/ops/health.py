"""Liveness, readiness and the models there are."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from lorestream import __version__
from lorestream.accounts.caller import Reads
from lorestream.errors import Busy
from lorestream.http import from_state
from lorestream.providers.catalogue import Catalogue
from lorestream.streaming.runs import Runs

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
LATE_SECONDS = 1.5
UNREADY_SECONDS = 5.0  # how long after a standstill a balancer should rather ask another worker


class LoopWatch:
    """Notices when the event loop stood still: something blocked it, or the machine had no time for it."""

    def __init__(self) -> None:
        """Nothing was noticed yet."""
        self._unready_until = 0.0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Inside the block, the loop's lag is measured twice a second."""
        task = asyncio.create_task(self._watch(), name="loop watch")
        try:
            yield
        finally:
            task.cancel()

    def refuse_when_late(self) -> None:
        """Raise Busy for a while after a standstill."""
        left = self._unready_until - asyncio.get_running_loop().time()
        if left > 0:
            raise Busy("The server stood still for a moment; it is catching up.", retry_after=math.ceil(left))

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            late = clock() - due
            if late > LATE_SECONDS:
                log.warning("the event loop stood still for %.1f seconds", late)
                self._unready_until = clock() + UNREADY_SECONDS


router = APIRouter(tags=["operations"])

CatalogueDep = Annotated[Catalogue, from_state("catalogue")]
WatchDep = Annotated[LoopWatch, from_state("loop_watch")]
RunsDep = Annotated[Runs, from_state("runs")]


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz")
async def readyz(runs: RunsDep, watch: WatchDep, catalogue: CatalogueDep) -> dict[str, str]:
    """The process takes new questions; 503 once it is shutting down. Of an embedded language model, how far it is."""
    runs.refuse_when_draining()
    watch.refuse_when_late()
    embedded = {"language_model": catalogue.embedded} if catalogue.embedded else {}
    return {"status": "ready", **embedded}


class ModelView(BaseModel):
    """A language model that a question could be answered by."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str


class CurrentModel(BaseModel):
    """The language model that answers, why it is that one, and what to do about what is missing."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    why: str
    advice: str


class Models(BaseModel):
    """The language models there are."""

    items: list[ModelView]
    current: CurrentModel


@router.get("/models")
async def models(_user: Reads, catalogue: CatalogueDep) -> Models:
    """The language models that could be used, the one that is, and why."""
    return Models(
        items=[ModelView.model_validate(model) for model in await catalogue.models()],
        current=CurrentModel.model_validate(await catalogue.describe()),
    )
