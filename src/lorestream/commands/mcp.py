"""``lorestream mcp``: the Model Context Protocol over stdin and stdout, for programs that start servers themselves.

Over a data directory of this machine, or for a server elsewhere, to which everything is handed on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

import httpx
import httpx2
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from lorestream import __version__
from lorestream.accounts.models import Principal
from lorestream.client.login import Login
from lorestream.doors.mcp_tools import INSTRUCTIONS, Context, Services, build
from lorestream.errors import StartRefused
from lorestream.library import Library

T = TypeVar("T")

CONNECT_SECONDS = 5.0
# Of silence in an answer: the server sends something every ten.
SILENCE_SECONDS = 60.0


async def serve_library(library: Library, email: str | None) -> None:
    """Serve the documents of one account of a data directory until stdin ends.

    Raises StartRefused, NotFound and InvalidInput where there is nothing to serve.
    """
    await library.open()
    try:
        account = await library.users.meant(email)
        owner = Principal(account.user_id, account.email, session_id="")
        services = Services(library.answers, library.documents, library.retrieval)
        await _serve(build(services, lambda _: owner, lambda _: None))
    finally:
        await library.close()


async def serve_for(login: Login) -> None:
    """Serve what a server offers to this login or API key until stdin ends. Raises StartRefused."""
    address = f"{login.url}/mcp"
    limits = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    async with (
        httpx.AsyncClient(base_url=login.url, auth=login) as renewing,
        httpx2.AsyncClient(auth=_Bearer(login, renewing), timeout=limits) as http,
    ):
        await _check(http, address)
        async with Client(streamable_http_client(address, http_client=http)) as remote:
            await _serve(_relay(remote))


class _Bearer(httpx2.Auth):
    """A login for the SDK's HTTP client; where it is refused, any request by ours renews it."""

    def __init__(self, login: Login, renewing: httpx.AsyncClient) -> None:
        self._login = login
        self._renewing = renewing

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        request.headers["Authorization"] = f"Bearer {self._login.token}"
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED and self._login.refresh_token:
            await self._renewing.get("/models")
            request.headers["Authorization"] = f"Bearer {self._login.token}"
            yield request


async def _serve(server: Server[Any]) -> None:
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def _check(http: httpx2.AsyncClient, address: str) -> None:
    """Raise StartRefused, in words, for what the client would only call a failure."""
    try:
        answer = await http.post(address, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    except httpx2.HTTPError as failure:
        raise StartRefused(f"There is no server at {address}: is it running?") from failure
    except (httpx2.InvalidURL, ValueError) as failure:
        raise StartRefused(f"{address} is no address of a server, such as http://127.0.0.1:8000.") from failure
    if answer.status_code in (401, 403):
        raise StartRefused(
            f"The server at {address} refuses the token. Log in again with lorestream login, or make an API key with "
            "the scopes read and ask on its page and give it in LORESTREAM_TOKEN."
        )
    if answer.status_code == 404:
        raise StartRefused(f"There is no Lorestream at {address}, or one that is too old.")


async def _handed(asking: Awaitable[T]) -> T:
    """The server's answer, or its refusal. Raises MCPError where it cannot be had."""
    try:
        return await asking
    except httpx2.HTTPError as failure:
        raise MCPError(types.INTERNAL_ERROR, "The server cannot be reached; please try again in a moment.") from failure


def _relay(remote: Client) -> Server[Any]:
    """A server that hands on everything."""

    async def tools(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return await _handed(remote.list_tools())

    async def call(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        told = ctx.session.report_progress
        return await _handed(remote.call_tool(params.name, params.arguments, progress_callback=told))

    async def resources(_ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return await _handed(remote.list_resources(cursor=params.cursor if params else None, cache_mode="bypass"))

    async def templates(
        _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return await _handed(remote.list_resource_templates())

    async def read(_ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return await _handed(remote.read_resource(params.uri, cache_mode="bypass"))

    return Server(
        "lorestream",
        version=__version__,
        title="Lorestream",
        instructions=INSTRUCTIONS,
        on_list_tools=tools,
        on_call_tool=call,
        on_list_resources=resources,
        on_list_resource_templates=templates,
        on_read_resource=read,
    )
