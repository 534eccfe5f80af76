"""Liveness, readiness and the models there are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter

from lorestream import __version__
from lorestream.accounts.routes import CurrentUser
from lorestream.http import from_state
from lorestream.providers.catalogue import Catalogue
from lorestream.streaming.runs import Runs

router = APIRouter(tags=["operations"])

CatalogueDep = Annotated[Catalogue, from_state("catalogue")]
RunsDep = Annotated[Runs, from_state("runs")]


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok", "version": __version__}


@router.get("/readyz")
async def readyz(runs: RunsDep) -> dict[str, str]:
    """The process takes new questions; 503 once it is shutting down."""
    runs.refuse_when_draining()
    return {"status": "ready"}


@router.get("/models")
async def models(_user: CurrentUser, catalogue: CatalogueDep) -> dict[str, Any]:
    """The language models that could be used, the one that is, and why."""
    return {
        "items": [{"name": model.name, "description": model.description} for model in await catalogue.models()],
        "current": await catalogue.describe(),
    }
