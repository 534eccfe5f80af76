"""S23: nothing that comes from outside is without a bound, and nothing unknown is taken or passed on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import lorestream.main  # noqa: F401 - so that every model is there to be found
from lorestream.http import Body
from tests.fakes.upstream import Finish, Say
from tests.faults.world import world
from tests.security.every_route import Tried
from tests.security.matrix import description

BOUNDS = {
    "integer": (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")),
    "number": (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")),
    "string": (("maxLength", "pattern", "enum", "const"),),
    "array": (("maxItems",), ("items",)),
    "object": (("additionalProperties",),),
}
# The one upload: bounded in bytes while it is read.
FILE = {"type": "string", "format": "binary"}


def unbounded(document: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    """The places in a schema of something from outside that have no bound."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema == FILE:
        return
    for union in ("anyOf", "oneOf", "allOf"):
        for number, one in enumerate(schema.get(union, [])):
            yield from unbounded(document, one, f"{where}|{number}")
    kind = schema.get("type")
    if kind is None and not {"anyOf", "oneOf", "allOf", "enum", "const"} & schema.keys():
        yield f"{where}: anything at all"
    for names in BOUNDS.get(str(kind), ()):
        if not any(name in schema for name in names) and "enum" not in schema:
            yield f"{where}: {kind} without {' or '.join(names)}"
    for name, member in schema.get("properties", {}).items():
        yield from unbounded(document, member, f"{where}.{name}")
    if kind == "array":
        yield from unbounded(document, schema.get("items", {}), f"{where}[]")


def test_every_parameter_and_body_is_bounded(tmp_path: Path) -> None:
    document = description(tmp_path)
    found: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for one in operation.get("parameters", []):
                found += unbounded(document, one["schema"], f"{method} {path} ?{one['name']}")
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                found += unbounded(document, content["schema"], f"{method} {path} {kind}")
    # Forms are those of OAuth2, which allows for fields of its own.
    found = [one for one in found if "additionalProperties" not in one or "form" not in one]
    assert not found, "\n".join(found)


def test_what_has_no_bound_is_found() -> None:
    document = {"components": {"schemas": {"X": {"type": "object", "properties": {"a": {"type": "string"}}}}}}
    assert len(list(unbounded(document, {"type": "array", "items": {"$ref": "#/components/schemas/X"}}, ""))) == 3
    assert len(list(unbounded(document, {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}, ""))) == 1
    assert list(unbounded(document, {}, "")) == [": anything at all"]


def bodies(root: type[BaseModel] = Body) -> Iterator[type[BaseModel]]:
    for model in root.__subclasses__():
        if model.__module__.startswith("lorestream"):
            yield model
        yield from bodies(model)


@pytest.mark.parametrize("model", sorted(set(bodies()), key=repr))
def test_every_body_refuses_unknown_fields(model: type[BaseModel]) -> None:
    assert model.model_config.get("extra") == "forbid"


# Doors whose clients are made by others: what they send beyond what is known is passed over (and never sent on).
OTHERS = ("/v1/", "/ai-sdk/", "/mcp")


def test_unknown_fields_are_refused_by_every_route(at: Tried) -> None:
    for route in at.routes:
        if route.media_type != "application/json" or route.path.startswith(OTHERS):
            continue
        valid = {one.name: at.ids.get(one.kind or "", "x") for one in route.fields if one.where == "body"}
        for unknown in ("n", "best_of", "logprobs", "base_url", "api_base", "tools", "__proto__"):
            answer = at.request(route, json={**valid, unknown: 1})
            assert answer.status_code == 422, (str(route), answer.text[:200])
            assert f"body.{unknown}" in {one["field"] for one in answer.json()["errors"]}


NEVER_SENT = {"n", "best_of", "logprobs", "top_logprobs", "tools", "tool_choice", "functions", "function_call", "user"}


async def test_what_multiplies_the_work_is_never_sent_to_the_model(tmp_path: Path, models_dir: Path) -> None:
    """The request to the model holds what the settings say, and nothing that a client sent but the question."""
    async with world(tmp_path / "data", models_dir) as one:
        one.fake.play(Say("Paris"), Finish(), always=True)
        http = one.client.http
        query = {"question": "What is the capital of France?", "n": "9", "best_of": "9", "logprobs": "1"}
        assert (await http.get("/query/stream/", params=query)).status_code == 200
        assert (await http.post("/query/", json={"question": query["question"], "k": 4})).status_code == 200
        assert (await http.post("/query/", json=query)).status_code == 422
        sent = [json.loads(chat.request.body) for chat in one.chats() if chat.request]
    assert len(sent) == 2
    for body in sent:
        assert not NEVER_SENT & body.keys(), body.keys()
        assert body["max_tokens"] <= 32768
