"""HTTP for collections. A foreign collection or document and an unknown one are the same 404."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lorestream.accounts.caller import ManagesDocuments, Reads
from lorestream.description import problems
from lorestream.documents.collections import MAX_COLLECTIONS, Collections
from lorestream.http import Body, from_state, one_line

router = APIRouter(prefix="/collections", tags=["collections"])

CollectionsService = Annotated[Collections, from_state("collections")]
Id = Annotated[str, Path(min_length=1, max_length=64)]
MAX_DOCUMENTS_AT_ONCE = 1000


class NamedCollection(Body):
    """The body of a new collection, and of a new name."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(one_line)]


class Members(Body):
    """The documents that are put into a collection."""

    doc_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(min_length=1, max_length=MAX_DOCUMENTS_AT_ONCE),
    ]


class CollectionView(BaseModel):
    """A collection; ``documents`` is how many are in it."""

    model_config = ConfigDict(from_attributes=True)

    collection_id: str
    name: str
    documents: int
    created_at: datetime


class CollectionList(BaseModel):
    """The caller's collections by their names; there are never so many that there would be another page."""

    items: list[CollectionView] = Field(max_length=MAX_COLLECTIONS)
    next_cursor: None = None


@router.get("/")
async def list_collections(user: Reads, collections: CollectionsService) -> CollectionList:
    """The caller's collections."""
    found = await collections.of_owner(user.user_id)
    return CollectionList(items=[CollectionView.model_validate(one) for one in found])


@router.post("/", status_code=201, responses=problems(409))
async def create_collection(
    response: Response, user: ManagesDocuments, collections: CollectionsService, body: NamedCollection
) -> CollectionView:
    """Make an empty collection; its name is unique among the caller's."""
    made = await collections.create(user.user_id, body.name)
    response.headers["Location"] = f"/collections/{made.collection_id}"
    return CollectionView.model_validate(made)


@router.get("/{collection_id}")
async def get_collection(collection_id: Id, user: Reads, collections: CollectionsService) -> CollectionView:
    """One collection; its documents are listed by ``GET /documents/?collection_id=``."""
    return CollectionView.model_validate(await collections.get(user.user_id, collection_id))


@router.patch("/{collection_id}", responses=problems(409))
async def rename_collection(
    collection_id: Id, user: ManagesDocuments, collections: CollectionsService, body: NamedCollection
) -> CollectionView:
    """Give a collection another name."""
    return CollectionView.model_validate(await collections.rename(user.user_id, collection_id, body.name))


@router.delete("/{collection_id}", status_code=204)
async def delete_collection(collection_id: Id, user: ManagesDocuments, collections: CollectionsService) -> None:
    """Delete a collection; its documents stay."""
    await collections.delete(user.user_id, collection_id)


@router.post("/{collection_id}/documents", status_code=204)
async def put_documents(
    collection_id: Id, user: ManagesDocuments, collections: CollectionsService, body: Members
) -> None:
    """Put documents into a collection, all or none; those that are in it stay."""
    await collections.put(user.user_id, collection_id, body.doc_ids)


@router.delete("/{collection_id}/documents/{doc_id}", status_code=204)
async def take_document(collection_id: Id, doc_id: Id, user: ManagesDocuments, collections: CollectionsService) -> None:
    """Take a document out of a collection; it stays in the library."""
    await collections.take(user.user_id, collection_id, doc_id)
