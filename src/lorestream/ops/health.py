"""Liveness, readiness and the models there are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

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
async def models(_user: CurrentUser, catalogue: CatalogueDep) -> Models:
    """The language models that could be used, the one that is, and why."""
    return Models(
        items=[ModelView.model_validate(model) for model in await catalogue.models()],
        current=CurrentModel.model_validate(await catalogue.describe()),
    )
