"""HTTP for the paper of documents: where a stretch of text stands on it, and pictures of its pages."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response, Security
from pydantic import BaseModel, Field

from lorestream.accounts.caller import Reads, while_valid
from lorestream.description import problems
from lorestream.documents.routes import DocId, DocumentsService
from lorestream.errors import InvalidInput
from lorestream.http import unless_gone

router = APIRouter(prefix="/documents", tags=["documents"])

MAX_OFFSET = 2**31
MAX_STRETCH = 20_000
MAX_PAGE = 10**6
MIN_WIDTH, MAX_WIDTH = 200, 2000
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The picture that If-None-Match names is the current one"},
    **problems(409),
}


class PageBoxes(BaseModel):
    """A page, its size in points, and a box for each line: [x0, y0, x1, y1] in shares of it from its top left."""

    page: int
    width: float
    height: float
    boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]]


class BoxesView(BaseModel):
    """Where a stretch of a document's text stands on its pages; none of a format without paper."""

    doc_id: str
    pages: list[PageBoxes]


@router.get("/{doc_id}/boxes", responses=problems(409))
async def get_boxes(
    doc_id: DocId,
    user: Reads,
    documents: DocumentsService,
    start: Annotated[int, Query(ge=0, le=MAX_OFFSET)],
    end: Annotated[int, Query(ge=1, le=MAX_OFFSET)],
) -> BoxesView:
    """Where the characters from ``start`` to ``end`` of the extracted text stand on the paper; at most 20 000."""
    if not 0 < end - start <= MAX_STRETCH:
        raise InvalidInput(f"end must be greater than start, by at most {MAX_STRETCH}.")
    found = await documents.boxes(user.user_id, doc_id, start, end)
    pages = [
        PageBoxes(
            page=page.number,
            width=page.width,
            height=page.height,
            boxes=[[round(share, 5) for share in box] for box in boxes],
        )
        for page, boxes in found
    ]
    return BoxesView(doc_id=doc_id, pages=pages)


@router.get(
    "/{doc_id}/pages/{number}/image",
    dependencies=[Security(while_valid, scopes=["read"])],
    response_class=Response,
    responses=IMAGE,
)
async def get_page_image(
    request: Request,
    doc_id: DocId,
    number: Annotated[int, Path(ge=1, le=MAX_PAGE)],
    user: Reads,
    documents: DocumentsService,
    width: Annotated[int, Query(ge=MIN_WIDTH, le=MAX_WIDTH)] = 1000,
    if_none_match: Annotated[str | None, Header(max_length=1024)] = None,
) -> Response:
    """A page of a PDF as it is shown, as a PNG so many pixels wide."""
    picture, path = await documents.picture(user.user_id, doc_id, number, width)
    tag = f'"{doc_id}-{number}-{width}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if if_none_match and tag in if_none_match:
        return Response(status_code=304, headers=headers)
    drawn = documents.page_images.get(user.user_id, path, picture)
    headers |= {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}
    return Response(await unless_gone(request, drawn), media_type="image/png", headers=headers)
