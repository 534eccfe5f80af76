"""HTTP for documents: upload, list, look, retry, delete. A foreign document and an unknown one are the same 404."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel

from lorestream.accounts.caller import ManagesDocuments, Reads
from lorestream.description import problems
from lorestream.documents.models import Document, Only, PageSpan, Reindex, Stage, Status
from lorestream.documents.service import Documents
from lorestream.http import decode_cursor, from_state, page_of

router = APIRouter(tags=["documents"])
DocumentsService = Annotated[Documents, from_state("documents")]
DocId = Annotated[str, Path(min_length=1, max_length=64)]
InCollection = Annotated[str | None, Query(min_length=1, max_length=64)]
InBatch = Annotated[str | None, Query(min_length=1, max_length=64)]

MAX_WAIT_SECONDS = 60
MAX_CHUNK_INDEX = 2**31
# Of a search in names; more narrow nothing down.
MAX_WORDS = 8
WORD = re.compile(r"[^\W_]+")
# Shown by browsers without running anything; everything else, HTML and SVG above all, is only ever saved.
INLINE = frozenset({"application/pdf", "text/plain"})
FILES: dict[str, Any] = {kind: {} for kind in sorted({*INLINE, "application/octet-stream"})}
UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class FailureView(BaseModel):
    """Why a document failed."""

    code: str
    message: str


class DocumentView(BaseModel):
    """A document as its owner sees it."""

    doc_id: str
    filename: str
    title: str
    media_type: str
    bytes: int
    pages: int | None
    chunks: int
    status: Status
    progress: float
    stage: Stage | None
    error: FailureView | None
    reindex: Reindex | None
    batch_id: str | None
    created_at: datetime


class DocumentList(BaseModel):
    """A page of documents, newest first."""

    items: list[DocumentView]
    next_cursor: str | None


class PageView(BaseModel):
    """Where one page stands in the extracted text."""

    number: int
    start: int
    end: int


class TextView(BaseModel):
    """A document's extracted text; offsets count its characters (Unicode code points)."""

    doc_id: str
    title: str
    pages: list[PageView]
    text: str


class ChunkView(BaseModel):
    """One passage: ``text`` is the extracted text from ``start`` to ``end``."""

    doc_id: str
    chunk_index: int
    text: str
    start: int
    end: int
    page: int | None
    heading: str


@router.post(
    "/documents/",
    status_code=201,
    openapi_extra=UPLOAD_FORM,
    responses={200: {"model": DocumentView}, 202: {"model": DocumentView}, **problems(404, 408, 413, 415, 422, 507)},
)
async def upload(
    request: Request,
    response: Response,
    user: ManagesDocuments,
    documents: DocumentsService,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)] = 10,
    collection_id: InCollection = None,
    batch_id: InBatch = None,
) -> DocumentView:
    """Take one file: 201 once it is searchable or has failed, 202 while it is worked on, 200 if it was there."""
    await documents.check(user.user_id, collection_id, batch_id)
    content_type = request.headers.get("content-type", "")
    declared_bytes = int(request.headers.get("content-length", 0))
    async with documents.receive(user, request.stream(), content_type, declared_bytes) as received:
        document, created = await documents.add(user.user_id, received, collection_id=collection_id, batch_id=batch_id)
    document = await documents.wait(user.user_id, document.doc_id, wait)
    if not created:
        response.status_code = 200
    elif not document.settled:
        response.status_code = 202
    response.headers["Location"] = f"/documents/{document.doc_id}"
    return document_view(document)


@router.get("/documents/", responses=problems(404))
async def list_documents(
    user: Reads,
    documents: DocumentsService,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    status: Annotated[Status | None, Query()] = None,
    collection_id: InCollection = None,
    batch_id: InBatch = None,
    q: Annotated[str, Query(max_length=200)] = "",
) -> DocumentList:
    """The caller's documents, newest first; with ``q``, those with all its words in name or title."""
    asked = list(dict.fromkeys(WORD.findall(q.lower())))[:MAX_WORDS]
    if q.strip() and not asked:
        return DocumentList(items=[], next_cursor=None)
    only = Only(status, collection_id, batch_id, asked)
    found = await documents.page(user.user_id, limit + 1, decode_cursor(cursor) if cursor else None, only)
    shown, next_cursor = page_of(found, limit, lambda one: (one.created_at, one.doc_id))
    return DocumentList(items=[document_view(document) for document in shown], next_cursor=next_cursor)


@router.get("/documents/{doc_id}")
async def get_document(doc_id: DocId, user: Reads, documents: DocumentsService) -> DocumentView:
    """One document."""
    return document_view(await documents.get(user.user_id, doc_id))


@router.delete("/documents/{doc_id}", status_code=204)
async def delete_document(doc_id: DocId, user: ManagesDocuments, documents: DocumentsService) -> None:
    """Delete a document with everything that was made of it."""
    await documents.delete(user.user_id, doc_id)


@router.post("/documents/{doc_id}/retry", status_code=202, responses=problems(409))
async def retry_document(doc_id: DocId, user: ManagesDocuments, documents: DocumentsService) -> DocumentView:
    """Index a document again that failed, was cancelled, or was indexed in another way than now."""
    return document_view(await documents.retry(user.user_id, doc_id))


@router.post("/documents/{doc_id}/cancel", status_code=202, responses=problems(409))
async def cancel_document(doc_id: DocId, user: ManagesDocuments, documents: DocumentsService) -> DocumentView:
    """Stop indexing a document, at any stage; one that is indexed anew stays as it was."""
    return document_view(await documents.cancel(user.user_id, doc_id))


@router.get("/documents/{doc_id}/file", response_class=FileResponse, responses={200: {"content": FILES}})
async def get_file(doc_id: DocId, user: Reads, documents: DocumentsService) -> FileResponse:
    """The original file, byte for byte."""
    document, path = await documents.file(user.user_id, doc_id)
    inline = document.media_type in INLINE
    return FileResponse(
        path,
        media_type=document.media_type if inline else "application/octet-stream",
        filename=document.filename,
        content_disposition_type="inline" if inline else "attachment",
        headers={
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        },
    )


@router.get("/documents/{doc_id}/text", response_model=TextView, responses=problems(409))
async def get_text(doc_id: DocId, user: Reads, documents: DocumentsService) -> Response:
    """The extracted text and where its pages stand in it."""
    document, parts, pages = await documents.text(user.user_id, doc_id)
    return StreamingResponse(
        _text_json(document, parts, pages),
        media_type="application/json",
        headers={"Cache-Control": "private, no-cache"},
    )


@router.get("/documents/{doc_id}/chunks/{chunk_index}")
async def get_chunk(
    doc_id: DocId,
    chunk_index: Annotated[int, Path(ge=0, le=MAX_CHUNK_INDEX)],
    user: Reads,
    documents: DocumentsService,
) -> ChunkView:
    """One passage."""
    chunk = await documents.chunk(user.user_id, doc_id, chunk_index)
    return ChunkView.model_validate(chunk, from_attributes=True)


def document_view(document: Document) -> DocumentView:
    """A document as its owner sees it."""
    error = None
    if document.error_code is not None:
        error = FailureView(code=document.error_code, message=document.error_message or "")
    names = DocumentView.model_fields.keys() - {"error"}
    return DocumentView(error=error, **{name: getattr(document, name) for name in names})


def _text_json(document: Document, parts: list[str], pages: list[PageSpan]) -> Iterator[bytes]:
    """The JSON of a TextView piece by piece: encoding a book in one go would hold up every stream."""
    head = {"doc_id": document.doc_id, "title": document.title, "pages": pages}
    yield msgspec.json.encode(head)[:-1] + b',"text":"'
    for part in parts:
        yield msgspec.json.encode(part)[1:-1]
    yield b'"}'
