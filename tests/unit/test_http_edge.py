"""The HTTP edge kit behind a real server: one shape of failure, both slash forms, bounded bodies, headers, ids."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, File, Form, Query, Request, Response, UploadFile, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.requests import HTTPConnection

from lorestream.connection import SECURITY_HEADERS
from lorestream.errors import Conflict, RateLimited
from lorestream.http import Body, client_ip, from_state, install_error_handlers
from lorestream.middleware import MAX_JSON_BYTES, BodyLimit, RequestContext, add_slash_twins
from tests.fakes.edge import served

CANARY = "canary-7f3a"
MAX_UPLOAD = 2 * MAX_JSON_BYTES
calls: list[str] = []


class Item(Body):
    name: str
    count: int = 0


def note_the_call(request: Request) -> None:
    calls.append(request.url.path)


router = APIRouter(prefix="/things", tags=["things"])
nested = APIRouter(prefix="/deep")


@router.get("/", dependencies=[Depends(note_the_call)], status_code=203, response_class=PlainTextResponse)
async def list_things() -> str:
    return "all"


@router.post("/", status_code=201, openapi_extra={"x-kept": True})
async def add_thing(item: Item) -> dict[str, int]:
    return {"count": item.count}


@router.get("/{thing_id}")
async def get_thing(thing_id: str) -> str:
    return thing_id


@router.post("/files")
async def upload(file: Annotated[UploadFile, File()]) -> int:
    return len(await file.read())


@router.post("/form")
async def form(password: Annotated[str, Form(max_length=5)]) -> str:
    return password


@nested.get("/{one}/leaf/{two}")
async def leaf(one: int, two: str, k: Annotated[int, Query(ge=1, le=10)] = 4) -> list[str]:
    return [str(one), two, str(k)]


@router.get("/fail/{how}")
async def fail(how: str) -> Response:
    if how == "conflict":
        raise Conflict(f"taken: {chr(0xD800)}")
    if how == "rate":
        raise RateLimited(retry_after=7)
    if how == "midway":
        return StreamingResponse(break_off())
    raise RuntimeError(CANARY)


async def break_off() -> AsyncIterator[bytes]:
    yield b"begun "
    raise RuntimeError(CANARY)


@router.get("/who/am/i")
async def who(request: Request, greeting: Annotated[str, from_state("greeting")]) -> dict[str, str]:
    return {"ip": client_ip(request), "greeting": greeting, "id": request.scope["request_id"]}


@router.websocket("/socket")
async def websocket(websocket: WebSocket, greeting: Annotated[str, from_state("greeting")]) -> None:
    await websocket.accept()
    await websocket.send_text(greeting)
    await websocket.close()


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"greeting": "hello"}


def build() -> FastAPI:
    app = FastAPI(lifespan=lifespan)
    install_error_handlers(app)
    router_with_nested = APIRouter()
    router_with_nested.include_router(router)
    router_with_nested.include_router(nested, prefix="/very")
    app.include_router(router_with_nested, prefix="/api")
    add_slash_twins(app)

    @app.get("/", include_in_schema=False)
    async def page() -> str:
        return "the page"

    app.add_middleware(BodyLimit, max_upload_bytes=MAX_UPLOAD, upload_paths=("/api/things/files",))
    app.add_middleware(RequestContext)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    calls.clear()
    async with served(build()) as url, httpx.AsyncClient(base_url=url, timeout=10) as client:
        yield client


async def raw(client: httpx.AsyncClient, request: bytes) -> bytes:
    """What the server answers to these bytes, until it closes or has nothing more to say."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        async with asyncio.timeout(5):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            return head + await reader.readexactly(int(length.split(b":")[1]))
    finally:
        writer.close()


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    problem: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code", "message", "retryable", "instance"} <= set(problem)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["instance"] == answer.headers["x-request-id"]
    for name in SECURITY_HEADERS:
        assert answer.headers[name] == SECURITY_HEADERS[name]
    assert "Traceback" not in answer.text
    assert CANARY not in answer.text
    return problem


# One shape of failure


async def test_unknown_paths_and_methods(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/api/nothing"), 404, "not_found")
    assert_problem(await client.get("/api/things/a/b/c/"), 404, "not_found")
    for path in ("/api/things/form/", "/api/things/form"):
        answer = await client.delete(path)
        assert_problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, POST"  # form/ is also a thing's id


async def test_our_own_failures(client: httpx.AsyncClient) -> None:
    assert_problem(await client.get("/api/things/fail/conflict"), 409, "conflict")
    answer = await client.get("/api/things/fail/rate")
    assert assert_problem(answer, 429, "rate_limited")["retry_after"] == 7
    assert answer.headers["retry-after"] == "7"


async def test_an_unexpected_failure_is_logged_under_its_id_and_shows_nothing(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/api/things/fail/unexpected", headers={"X-Request-Id": "mine-1"})
    problem = assert_problem(answer, 500, "internal")
    assert problem["instance"] == "mine-1"
    (record,) = [record for record in caplog.records if record.exc_info]
    assert "mine-1" in record.getMessage()
    assert record.exc_info
    assert CANARY in str(record.exc_info[1])


async def test_a_failure_in_mid_stream_breaks_the_response_off(client: httpx.AsyncClient) -> None:
    async with client.stream("GET", "/api/things/fail/midway") as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"begun "
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body.1"),
        (b"", "body"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'{"name": "canary-7f3a", "count": "canary-7f3a"}', "body.count"),
        (b'{"name": 5}', "body.name"),
        (b'{"name": "a", "other": "canary-7f3a"}', "body.other"),
        (b'{"name": "\\ud800"}', "body.name"),
    ],
)
async def test_bad_bodies_name_the_field_and_never_repeat_the_input(
    client: httpx.AsyncClient, body: bytes, field: str
) -> None:
    answer = await client.post("/api/things/", content=body, headers={"Content-Type": "application/json"})
    problem = assert_problem(answer, 422, "invalid_input")
    assert [item["field"] for item in problem["errors"]] == [field]
    assert field in problem["message"]


async def test_names_of_unknown_fields_are_bounded_and_may_be_no_text(client: httpx.AsyncClient) -> None:
    fields = {"name": "a", chr(0xD800): 1, "x" * 10_000: 1, **{f"field{number}": 1 for number in range(100)}}
    answer = await client.post("/api/things/", content=json.dumps(fields), headers={"Content-Type": "application/json"})
    assert_problem(answer, 422, "invalid_input")
    assert len(answer.content) < 20_000


async def test_bad_parameters_and_forms(client: httpx.AsyncClient) -> None:
    problem = assert_problem(await client.get("/api/very/deep/x/leaf/y?k=11"), 422, "invalid_input")
    assert [item["field"] for item in problem["errors"]] == ["path.one", "query.k"]
    answer = await client.post("/api/things/form", data={"password": CANARY})
    assert assert_problem(answer, 422, "invalid_input")["errors"][0]["field"] == "body.password"
    broken = {"Content-Type": "multipart/form-data"}
    assert_problem(await client.post("/api/things/files", content=b"x", headers=broken), 400, "bad_request")


# Both slash forms


@pytest.mark.parametrize("path", ["/api/things/", "/api/things"])
async def test_both_forms_answer_alike_and_without_a_redirect(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.text) == (203, "all")
    assert answer.headers["content-type"].startswith("text/plain")
    assert calls == ["/api/things/"]
    assert (await client.post(path, json={"name": "a", "count": 2})).json() == {"count": 2}
    assert (await client.post(path, json={"name": "a"})).status_code == 201


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/very/deep/1/leaf/two?k=2", ["1", "two", "2"]),
        ("/api/very/deep/1/leaf/two/?k=2", ["1", "two", "2"]),
        ("/api/things/%C3%BC%20b", "ü b"),
        ("/api/things/%C3%BC%20b/", "ü b"),
        ("/", "the page"),
    ],
)
async def test_parameters_survive(client: httpx.AsyncClient, path: str, answer: Any) -> None:
    assert (await client.get(path)).json() == answer


async def test_only_the_published_form_is_in_the_schema() -> None:
    schema = build().openapi()
    assert "/api/things/" in schema["paths"]
    assert "/api/things" not in schema["paths"]
    assert schema["paths"]["/api/things/"]["post"]["x-kept"] is True


# Bodies


async def test_a_declared_length_is_refused_before_the_body_is_read(client: httpx.AsyncClient) -> None:
    for path, limit in (("/api/things", MAX_JSON_BYTES), ("/api/things/files", MAX_UPLOAD + 64 * 1024)):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {limit + 1}\r\n\r\n".encode()
        answer = await raw(client, head)
        assert answer.startswith(b"HTTP/1.1 413")
        assert str(limit).encode() in answer


@pytest.mark.parametrize("length", [b"-1", b"+5", b"0x10", b"1e3", b"many", b"1_0", b"9" * 5000, "٣".encode()])
async def test_a_nonsensical_length_is_refused(client: httpx.AsyncClient, length: bytes) -> None:
    answer = await raw_status(
        client, b"POST /api/things HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + b"\r\n\r\n"
    )
    assert answer in (400, 413, 422)


async def raw_status(client: httpx.AsyncClient, request: bytes) -> int:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        async with asyncio.timeout(5):
            writer.write(request)
            return int((await reader.readline()).split()[1])
    finally:
        writer.close()


@pytest.mark.parametrize("length", ["-1", "+5", "many", "9" * 5000, "٣"])
async def test_the_limit_does_not_rely_on_the_server_for_that(length: str) -> None:
    sent: list[Any] = []

    async def never(*_: Any) -> Any:
        raise AssertionError("the application was reached")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", length.encode("utf-8"))]
    scope = {"type": "http", "method": "POST", "path": "/api/things", "headers": headers}
    await BodyLimit(never, 1, ())(scope, never, send)
    assert sent[0]["status"] == 422


async def chunks(total: int, sent: list[int]) -> AsyncIterator[bytes]:
    for _ in range(total // 65536):
        sent.append(65536)
        yield b"x" * 65536


async def test_an_undeclared_body_is_refused_once_it_has_grown_too_far(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/api/things", content=chunks(2 * MAX_JSON_BYTES, []), headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 413, "too_large")


@pytest.mark.parametrize("path", ["/api/things/files", "/api/things/files/"])
async def test_uploads_have_the_larger_limit_in_both_slash_forms(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, files={"file": ("a.txt", b"x" * MAX_UPLOAD)})
    assert answer.json() == MAX_UPLOAD
    answer = await client.post(path, files={"file": ("a.txt", b"x" * (MAX_UPLOAD + 65536))})
    assert_problem(answer, 413, "too_large")
    answer = await client.post("/api/things/form", data={"password": "x" * MAX_JSON_BYTES})
    assert_problem(answer, 413, "too_large")


# Request ids, headers, state, addresses


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\tb", "<script>", "é", "a/b"])
async def test_a_request_id_that_is_not_sane_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/api/things", headers={b"X-Request-Id": given.encode("latin-1")})
    assert len(answer.headers["x-request-id"]) == 16
    assert answer.headers["x-request-id"] != given


async def test_a_sane_request_id_is_kept_and_every_response_has_the_security_headers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/things/who/am/i", headers={"X-Request-Id": "Trace_1.2-3"})
    assert answer.json() == {"ip": "127.0.0.1", "greeting": "hello", "id": "Trace_1.2-3"}
    assert answer.headers["x-request-id"] == "Trace_1.2-3"
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    first, second = [(await client.get("/")).headers["x-request-id"] for _ in range(2)]
    assert first != second


@pytest.mark.parametrize("path", ["/api/things/socket", "/api/things/socket/"])
async def test_web_sockets_read_the_state_and_have_both_slash_forms(path: str) -> None:
    sent: list[Any] = []
    connect: list[Any] = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        return connect.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "path": path, "headers": [], "query_string": b"", "subprotocols": [],
        "state": {"greeting": "hello"},
    }  # fmt: skip
    async with asyncio.timeout(5):
        await build()(scope, receive, send)
    assert [message.get("text") for message in sent if message["type"] == "websocket.send"] == ["hello"]


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("testclient", "testclient"),
    ],
)
def test_the_address_that_limits_count(host: str, key: str) -> None:
    assert client_ip(HTTPConnection({"type": "http", "client": (host, 1), "headers": []})) == key


def test_a_caller_without_address_has_a_key_too() -> None:
    assert client_ip(HTTPConnection({"type": "http", "client": None, "headers": []})) == "unknown"
