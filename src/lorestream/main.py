"""The composition root of the web application, and the server that runs it."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict, cast

import uvicorn
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from lorestream import __version__
from lorestream.accounts.invitations import Invitations
from lorestream.accounts.keys import Keys
from lorestream.accounts.keys_routes import router as keys_router
from lorestream.accounts.quotas import Quotas
from lorestream.accounts.routes import router as accounts_router
from lorestream.accounts.service import Accounts
from lorestream.accounts.tickets import Tickets
from lorestream.accounts.tickets_routes import router as tickets_router
from lorestream.accounts.users import Users
from lorestream.accounts.watch import Watch
from lorestream.admission import Seats
from lorestream.connection import ClientConnection, ConnectionLimits, Gate
from lorestream.conversations.answer import Answers
from lorestream.conversations.feedback import Feedback
from lorestream.conversations.feedback_routes import router as feedback_router
from lorestream.conversations.routes import router as runs_router
from lorestream.conversations.thread_routes import router as conversations_router
from lorestream.conversations.threads import Conversations
from lorestream.description import describe_problems
from lorestream.documents.batches import Batches
from lorestream.documents.batches_routes import router as batches_router
from lorestream.documents.collections import Collections
from lorestream.documents.collections_routes import router as collections_router
from lorestream.documents.pages_routes import router as pages_router
from lorestream.documents.progress import Progress
from lorestream.documents.progress_routes import router as progress_router
from lorestream.documents.routes import router as documents_router
from lorestream.documents.service import Documents
from lorestream.doors.ai_sdk import router as ai_sdk_router
from lorestream.doors.chat import router as chat_router
from lorestream.doors.mcp import Mcp
from lorestream.doors.mcp import router as mcp_router
from lorestream.doors.openai import router as openai_router
from lorestream.doors.openai_embeddings import router as openai_embeddings_router
from lorestream.doors.openai_errors import refused as openai_refused
from lorestream.doors.query import router as query_router
from lorestream.doors.rag import router as rag_router
from lorestream.doors.websocket import MAX_MESSAGE_BYTES
from lorestream.doors.websocket import PATHS as WEB_SOCKETS
from lorestream.doors.websocket import router as websocket_router
from lorestream.http import install_error_handlers
from lorestream.library import Library
from lorestream.limits import RateLimiter
from lorestream.middleware import BodyLimit, Hosts, RequestContext, add_slash_twins
from lorestream.ops.admin_routes import router as admin_router
from lorestream.ops.health import LoopWatch
from lorestream.ops.health import router as health_router
from lorestream.ops.limits_routes import router as limits_router
from lorestream.ops.personal_data import PersonalData
from lorestream.ops.personal_data_routes import router as personal_data_router
from lorestream.providers.base import Embedder
from lorestream.providers.catalogue import Catalogue
from lorestream.retrieval.routes import router as search_router
from lorestream.retrieval.search import Retrieval
from lorestream.settings import Settings
from lorestream.streaming.runs import Runs
from lorestream.upgraded import PING_SECONDS, WebSocketConnection

log = logging.getLogger(__name__)

WEBUI = Path(__file__).parent / "webui"
PAGES = ("/", "/library", "/find", "/settings", "/administration", "/c/{conversation_id}")
UPLOAD_PATHS = ("/documents", "/batches/archives")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Never with credentials: what another origin's page sends is a bearer token, not our cookie. So any header may come
# along; the clients of OpenAI and of MCP send some of their own.
CORS: dict[str, Any] = {
    "allow_methods": ("GET", "POST", "PUT", "PATCH", "DELETE"),
    "allow_headers": ("*",),
    "expose_headers": (
        *("X-Run-Id", "X-Request-Id", "RateLimit", "RateLimit-Policy", "Retry-After"),
        *("Mcp-Session-Id", "X-Vercel-AI-UI-Message-Stream"),
    ),
    "max_age": 600,
}
# Doors that tell of failures as their clients expect it, by the beginning of their paths.
REFUSALS = {"/v1/": openai_refused}
ROUTERS = (
    accounts_router,
    keys_router,
    tickets_router,
    personal_data_router,
    admin_router,
    documents_router,
    pages_router,
    progress_router,
    batches_router,
    collections_router,
    search_router,
    conversations_router,
    feedback_router,
    query_router,
    openai_router,
    openai_embeddings_router,
    rag_router,
    chat_router,
    websocket_router,
    ai_sdk_router,
    mcp_router,
    runs_router,
    limits_router,
    health_router,
)


class State(TypedDict):
    """What the lifespan gives to the routes."""

    settings: Settings
    limiter: RateLimiter
    accounts: Accounts
    keys: Keys
    tickets: Tickets
    watch: Watch
    users: Users
    invitations: Invitations
    personal_data: PersonalData
    documents: Documents
    batches: Batches
    progress: Progress
    collections: Collections
    embedder: Embedder
    retrieval: Retrieval
    catalogue: Catalogue
    runs: Runs
    answers: Answers
    loop_watch: LoopWatch
    conversations: Conversations
    feedback: Feedback
    answer_seats: Seats
    stream_seats: Seats
    quotas: Quotas
    mcp: Mcp


def create_app(library: Library) -> FastAPI:
    """The web application over an open library."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        watch = LoopWatch()
        mcp = Mcp(library.answers, library.documents, library.retrieval)
        async with watch.watching(), library.ingesting(), mcp.serving():
            yield State(
                settings=library.settings,
                limiter=library.limiter,
                accounts=library.accounts,
                keys=library.keys,
                tickets=library.tickets,
                watch=library.watch,
                users=library.users,
                invitations=library.invitations,
                personal_data=library.personal_data,
                documents=library.documents,
                batches=library.batches,
                progress=library.progress,
                collections=library.collections,
                embedder=library.embedder,
                retrieval=library.retrieval,
                catalogue=library.catalogue,
                runs=library.runs,
                answers=library.answers,
                loop_watch=watch,
                conversations=library.conversations,
                feedback=library.feedback,
                answer_seats=library.answer_seats,
                stream_seats=library.stream_seats,
                quotas=library.quotas,
                mcp=mcp,
            )

    settings = library.settings
    app = FastAPI(
        title="Lorestream",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    add_slash_twins(app)
    _serve_pages(app)
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes, upload_paths=UPLOAD_PATHS)
    app.add_middleware(Hosts, allowed=_host_names(settings))
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **CORS)
    app.add_middleware(RequestContext, refusals=REFUSALS)
    describe_problems(app)
    return app


def _host_names(settings: Settings) -> tuple[str, ...]:
    """The names that requests may name: on loopback, with no proxy before it, only loopback's; else all, as none."""
    if settings.allowed_hosts or settings.trusted_proxies or not settings.on_loopback:
        return settings.allowed_hosts
    return (*LOOPBACK_NAMES, f"[{settings.host}]" if ":" in settings.host else settings.host)


def _serve_pages(app: FastAPI) -> None:
    """The built web app: hashed assets for ever, the page itself always fresh; every other path stays a 404."""
    if not (WEBUI / "index.html").is_file():

        async def missing() -> Response:
            return PlainTextResponse("The page is not built: run `make run`, which builds it.", status_code=503)

        app.add_api_route("/", missing, include_in_schema=False)
        return

    async def page() -> Response:
        return FileResponse(WEBUI / "index.html", headers={"Cache-Control": "no-cache"})

    for path in PAGES:
        app.add_api_route(path, page, methods=["GET", "HEAD"], include_in_schema=False)
    for file in WEBUI.iterdir():
        if file.is_file() and file.name != "index.html":
            app.add_api_route(f"/{file.name}", _file_route(file), methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/assets", _Assets(directory=WEBUI / "assets", check_dir=False))


def _file_route(file: Path) -> Any:
    async def one_file() -> Response:
        return FileResponse(file)

    return one_file


class _Assets(StaticFiles):
    """Files whose name holds their hash."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class Server(uvicorn.Server):
    """uvicorn that drains on the first signal (promise P12) and leaves at once on the second.

    uvicorn itself would wait for open streams before the lifespan's end, so the runs must end first.
    """

    def __init__(self, config: uvicorn.Config, library: Library) -> None:
        """Remember whose runs to drain."""
        super().__init__(config)
        self.library = library
        self.on_started: Callable[[], Awaitable[None]] | None = None
        self.shares_socket = False
        self._drains: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the library, serve until a signal, close it. Raises StartRefused where it cannot be opened."""
        await self.library.open()
        try:
            await super().serve(sockets)
        finally:
            await self.library.close()

    @property
    def port(self) -> int:
        """The port it listens on, also where the settings asked for a free one."""
        listening = [sock.getsockname()[1] for one in self.servers for sock in one.sockets]
        return int(listening[0]) if listening else self.config.port

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell whoever waits for it."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started and self.on_started:
            await self.on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal saves what there is and leaves.

        The signal is not recorded as uvicorn would, which would raise it again at the end: the exit code is 0.
        """
        if self._loop is None or not self.started:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._on_signal)

    def stop_listening(self) -> None:
        """Take no more connections: the siblings on the same socket do."""
        for one in self.servers:
            one.close()

    def leave(self) -> None:
        """Do as at a signal."""
        if self._loop is None or not self.started:
            self.should_exit = True
        else:
            self._on_signal()

    def _on_signal(self) -> None:
        if self.shares_socket:
            self.stop_listening()
        seconds = 0 if self._drains else self.library.settings.drain_seconds
        log.info("shutting down; %d answers are being written", self.library.runs.live)
        self._drains.append(asyncio.ensure_future(self._drain(seconds)))

    async def _drain(self, seconds: float) -> None:
        await self.library.runs.drain(seconds)
        self.should_exit = True


def server(settings: Settings) -> Server:
    """The server of these settings, ready to ``run``."""
    library = Library(settings)
    config = uvicorn.Config(
        create_app(library),
        host=settings.host,
        port=settings.port,
        http=cast("Any", partial(ClientConnection, gate=Gate(_connection_limits(settings)), web_sockets=WEB_SOCKETS)),
        ws=cast("Any", partial(WebSocketConnection, write_seconds=settings.write_timeout_seconds)),
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_per_message_deflate=False,
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=list(settings.trusted_proxies),
        proxy_headers=bool(settings.trusted_proxies),
        timeout_graceful_shutdown=5,
        timeout_keep_alive=settings.keep_alive_seconds,
    )
    return Server(config, library)


def _connection_limits(settings: Settings) -> ConnectionLimits:
    """The settings' limits. Each connection may need a descriptor of its own and one for the model's server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(2 * settings.max_connections + 256, hard if hard != resource.RLIM_INFINITY else 2**20)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    most = settings.max_connections if soft == resource.RLIM_INFINITY else min(settings.max_connections, soft // 2)
    return ConnectionLimits(
        head_seconds=settings.header_timeout_seconds,
        body_bytes_per_second=settings.body_bytes_per_second,
        body_grace_seconds=settings.body_grace_seconds,
        max_connections=most,
        max_per_address=settings.max_connections_per_address,
        exempt=settings.trusted_proxies,
    )
