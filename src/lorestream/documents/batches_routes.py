"""HTTP for batches: files that come together. A foreign batch or collection and an unknown one are the same 404."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lorestream.accounts.caller import ManagesDocuments, Reads
from lorestream.description import problems
from lorestream.documents.batches import Batches
from lorestream.documents.batches_store import MAX_REFUSED
from lorestream.documents.models import Batch, BatchStatus
from lorestream.documents.routes import UPLOAD_FORM, InCollection
from lorestream.http import Body, decode_cursor, from_state, one_line, page_of

router = APIRouter(prefix="/batches", tags=["batches"])

BatchesService = Annotated[Batches, from_state("batches")]
BatchId = Annotated[str, Path(min_length=1, max_length=64)]
# In a list; a batch by itself tells them all.
MAX_REFUSED_LISTED = 20


class NewBatch(Body):
    """The body of a new batch; ``collection_id`` is for its documents that are uploaded with none."""

    name: Annotated[str, Field(max_length=255), AfterValidator(one_line)] = "Upload"
    collection_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class RefusedView(BaseModel):
    """A file that became no document, and why."""

    name: str
    code: str
    message: str


class BatchView(BaseModel):
    """A batch; ``queued`` to ``cancelled`` are numbers of documents, ``entries`` is that of files in its archive."""

    model_config = ConfigDict(from_attributes=True)

    batch_id: str
    name: str
    status: BatchStatus
    entries: int | None
    documents: int
    queued: int
    processing: int
    ready: int
    failed: int
    cancelled: int
    pages: int
    chunks: int
    progress: float
    refused: list[RefusedView] = Field(max_length=MAX_REFUSED)
    created_at: datetime


class BatchList(BaseModel):
    """A page of batches, newest first; each with the latest of its refused files only."""

    items: list[BatchView]
    next_cursor: str | None


@router.post("/", status_code=201, responses=problems(404))
async def create_batch(
    response: Response, user: ManagesDocuments, batches: BatchesService, body: NewBatch
) -> BatchView:
    """Make a batch; files that are uploaded with its ``batch_id`` belong to it."""
    return _made(response, await batches.create(user.user_id, body.name, body.collection_id))


@router.post(
    "/archives", status_code=202, openapi_extra=UPLOAD_FORM, responses=problems(404, 408, 409, 413, 415, 422, 507)
)
async def upload_archive(
    request: Request,
    response: Response,
    user: ManagesDocuments,
    batches: BatchesService,
    collection_id: InCollection = None,
) -> BatchView:
    """Take a ZIP file of documents; it is unpacked in the background."""
    content_type = request.headers.get("content-type", "")
    declared_bytes = int(request.headers.get("content-length", 0))
    async with batches.receive(user, request.stream(), content_type, declared_bytes, collection_id) as received:
        return _made(response, await batches.add(user.user_id, received, collection_id))


@router.get("/")
async def list_batches(
    user: Reads,
    batches: BatchesService,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> BatchList:
    """The caller's batches, newest first."""
    found = await batches.page(user.user_id, limit + 1, decode_cursor(cursor) if cursor else None)
    shown, next_cursor = page_of(found, limit, lambda one: (one.created_at, one.batch_id))
    return BatchList(items=[batch_view(one, MAX_REFUSED_LISTED) for one in shown], next_cursor=next_cursor)


@router.get("/{batch_id}")
async def get_batch(batch_id: BatchId, user: Reads, batches: BatchesService) -> BatchView:
    """One batch."""
    return batch_view(await batches.get(user.user_id, batch_id))


@router.post("/{batch_id}/cancel", status_code=202, responses=problems(409))
async def cancel_batch(batch_id: BatchId, user: ManagesDocuments, batches: BatchesService) -> BatchView:
    """Cancel what is not settled of a batch; what is ready stays."""
    return batch_view(await batches.cancel(user.user_id, batch_id))


def batch_view(batch: Batch, max_refused: int = MAX_REFUSED) -> BatchView:
    """A batch as its owner sees it, with the latest of its refused files."""
    shown = BatchView.model_validate(batch)
    return shown.model_copy(update={"refused": shown.refused[-max_refused:]})


def _made(response: Response, batch: Batch) -> BatchView:
    response.headers["Location"] = f"/batches/{batch.batch_id}"
    return batch_view(batch)
