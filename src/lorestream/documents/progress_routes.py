"""Progress over HTTP: how a document or a batch is doing, as server-sent events until it is settled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Response

from lorestream.accounts.caller import Reads, ReadStream
from lorestream.documents.batches_routes import BatchesService, BatchId, batch_view
from lorestream.documents.models import Batch, Document
from lorestream.documents.progress import Follower, Progress
from lorestream.documents.routes import DocId, DocumentsService, document_view
from lorestream.http import EventStream, from_state
from lorestream.settings import Settings
from lorestream.streaming import sse

router = APIRouter(tags=["documents"])

ProgressService = Annotated[Progress, from_state("progress")]
SettingsDep = Annotated[Settings, from_state("settings")]
# What an event may hold of lists, so that it stays under 64 KiB.
CHANGED_BYTES, REFUSED_BYTES = 48 * 1024, 8 * 1024
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},
    204: {"description": "It is settled already"},
}


@router.get("/documents/{doc_id}/events", dependencies=[ReadStream], response_class=Response, responses=STREAM)
async def follow_document(
    doc_id: DocId, user: Reads, documents: DocumentsService, progress: ProgressService, settings: SettingsDep
) -> Response:
    """Events ``document``: at once, then with every change until it is settled or deleted."""
    if (await documents.get(user.user_id, doc_id)).settled:
        return Response(status_code=204)
    return _stream(await progress.document(user.user_id, doc_id, _document_event), settings)


@router.get("/batches/{batch_id}/events", dependencies=[ReadStream], response_class=Response, responses=STREAM)
async def follow_batch(
    batch_id: BatchId, user: Reads, batches: BatchesService, progress: ProgressService, settings: SettingsDep
) -> Response:
    """Events ``batch``: at once, then with every change until it is settled."""
    if (await batches.get(user.user_id, batch_id)).settled:
        return Response(status_code=204)
    return _stream(await progress.batch(user.user_id, batch_id, _batch_event), settings)


def _stream(follower: Follower, settings: Settings) -> EventStream:
    return EventStream(follower, sse.HEADERS, sse.RETRY, settings.heartbeat_seconds, settings.write_timeout_seconds)


def _document_event(document: Document) -> bytes:
    return _frame({"type": "document", **document_view(document).model_dump(mode="json")})


def _batch_event(batch: Batch, changed: Sequence[Document]) -> bytes:
    view = batch_view(batch).model_dump(mode="json")
    refused = list(_fitting(view["refused"][::-1], REFUSED_BYTES))[::-1]
    documents = (document_view(document).model_dump(mode="json") for document in changed)
    return _frame({"type": "batch", **view, "refused": refused, "changed": list(_fitting(documents, CHANGED_BYTES))})


def _fitting(items: Iterable[Any], limit: int) -> Iterator[Any]:
    """The first items that fit into ``limit`` bytes of JSON."""
    for item in items:
        limit -= len(json.dumps(item)) + 2
        if limit < 0:
            return
        yield item


def _frame(event: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(event, separators=(',', ':'))}\n\n".encode("ascii")
