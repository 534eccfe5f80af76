"""S04: no request names an index, and no search reaches, ranks by or is displaced by another user's passages."""

from __future__ import annotations

import random
import re
import secrets
from pathlib import Path

import httpx

from lorestream.errors import NoDocuments
from tests.conftest import SEED
from tests.fakes.documents import ALICE, BOB, desk
from tests.fakes.server import RunningServer
from tests.security.matrix import description, routes
from tests.security.people import People

QUERIES = 200
RAW = re.compile(r"index_name|collection(_name)?$|namespace|table|tenant|owner|partition|database|bucket|path$")


def test_no_field_names_an_index_a_collection_or_an_owner(tmp_path: Path) -> None:
    named = {f"{route} {one.name}" for route in routes(description(tmp_path)) for one in route.fields}
    assert not [name for name in named if RAW.search(name.rpartition(" ")[2])]


async def test_two_hundred_queries_never_find_the_canary(world: tuple[RunningServer, People]) -> None:
    chance = random.Random(SEED)
    server, people = world
    canary = people.canary
    words = f"capital France hides canary {canary} geography alice secret paris geo.md".split()
    queries = [
        canary,
        f"canary {canary}",
        canary.upper(),
        canary[:12],
        f'"{canary}"',
        f"{canary}*",
        f"text:{canary}",
    ]
    queries += [f"owner : {people.alice.user_id} AND {canary}", people.alice.user_id, people.alice.ids["document"]]
    queries += [" ".join(chance.choices(words, k=chance.randint(1, 6))) for _ in range(QUERIES - len(queries))]
    async with httpx.AsyncClient(base_url=server.url, headers=people.bob.headers, timeout=30) as bob:
        own = {one["doc_id"] for one in (await bob.get("/documents/")).json()["items"]}
        for query in queries:
            answer = (await bob.post("/query/", json={"question": query, "k": 10})).raise_for_status().json()
            assert {source["doc_id"] for source in answer["sources"]} <= own
            shown = str([answer["sources"], answer["citations"]])
            assert canary not in shown
            # What one asked with may be answered about, word for word; what one did not ask with may not.
            assert canary in query.lower() or canary not in answer["answer"]


async def test_scores_do_not_tell_of_others_and_nobody_is_displaced(tmp_path: Path) -> None:
    """With and without hundreds of better passages of Alice's, Bob gets the same passages with the same numbers."""
    word = secrets.token_hex(8)
    async with desk(tmp_path / "data", relevance_floor=0) as at:
        own = await at.indexed(BOB, "own.md", f"# Birds\n\nThe {word} sings at dawn.\n\n# Fish\n\nTrout swim.".encode())
        before = await at.retrieval.search(BOB, f"{word} sings", 10)
        better = "\n\n".join(f"# {n}\n\n{word} sings {word} sings {n}" for n in range(150))
        await at.indexed(ALICE, "all.md", better.encode())
        after = await at.retrieval.search(BOB, f"{word} sings", 10)
        assert after == before
        assert {passage.doc_id for passage in after} == {own}
        alices = (await at.documents.page(ALICE, 1, None))[0].doc_id
        for scope in ([alices], [alices, "0" * 32]):
            try:
                found = await at.retrieval.search(BOB, word, 10, scope)
            except NoDocuments:
                continue
            raise AssertionError(found)
