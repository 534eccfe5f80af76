"""What people think of their answers, and the question set that it makes for ``lorestream evaluate``."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any

from lorestream.conversations import citations, feedback_store
from lorestream.conversations.models import Rated, Rating
from lorestream.db import Database

# Answers in memory at once while a question set is made.
PAGE = 50


class Feedback:
    """The rated answers of all owners. Every call names the owner."""

    def __init__(self, db: Database) -> None:
        """Use this database; no I/O."""
        self._db = db

    async def page(
        self, owner_id: str, rating: Rating | None, limit: int, after: tuple[datetime, str] | None
    ) -> list[Rated]:
        """Up to ``limit`` rated answers, newest first, older than ``after`` (created_at, message_id)."""
        async with self._db.read() as session:
            return await feedback_store.page_of(session, owner_id, rating, limit, after)

    async def question_set(self, owner_id: str, rating: Rating | None) -> AsyncGenerator[bytes, None]:
        """The rated answers as JSON lines, newest first, a page of them at a time."""
        after: tuple[datetime, str] | None = None
        while page := await self.page(owner_id, rating, PAGE, after):
            named = {source["doc_id"] for one in page for source in one.sources}
            async with self._db.read() as session:
                filenames = await feedback_store.filenames(session, owner_id, named)
            yield "".join(json.dumps(question_of(one, filenames), ensure_ascii=False) + "\n" for one in page).encode()
            after = page[-1].created_at, page[-1].message_id


def question_of(rated: Rated, filenames: Mapping[str, str]) -> dict[str, Any]:
    """A line of a question set: a good answer is what is expected, from the passages that it cites; a bad one is none.

    ``filenames`` are those of the documents that are still there, by doc_id. Passages of a second document name it
    themselves.
    """
    line: dict[str, Any] = {"question": rated.question, "answers": [], "rating": rated.rating}
    if rated.comment:
        line["comment"] = rated.comment
    if rated.rating == "down":
        return line
    line["answers"] = [text] if (text := citations.plain(rated.answer)) else []
    cited = {citation["n"] for citation in rated.citations}
    spans = [
        {"document": filenames[source["doc_id"]], "start": source["start"], "end": source["end"]}
        for source in rated.sources
        if source["n"] in cited and source["doc_id"] in filenames
    ]
    if spans:
        line["document"] = spans[0]["document"]
        line["spans"] = [
            {name: value for name, value in span.items() if name != "document" or value != line["document"]}
            for span in spans
        ]
    return line
