"""A stand-in of the Hugging Face hub: files by name, with ranges, connections that are cut, and refusals."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """``OWNER/REPO/FILE`` to bytes. A repository named ``gated`` asks for a login.

    ``cut_after``: a download is cut off when so many bytes of it were sent.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.sizes: dict[str, int] = {}  # that are told, where they are not the true ones
        self.cut_after: int | None = None
        self.requests: list[dict[str, str]] = []
        self.offsets: list[int] = []
        self.served = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Hub:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            self.requests.append({"": f"{method} {path}", **headers})
            await self._answer(writer, method, path, headers)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, method: str, path: str, headers: dict[str, str]) -> None:
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/([^?]+)(\?.*)?", path)
        name = f"{found[1]}/{found[2]}" if found else ""
        if name not in self.files:
            code = "EntryNotFound" if any(one.startswith(f"{name.rpartition('/')[0]}/") for one in self.files) else ""
            status, code = (403, "GatedRepo") if "/gated/" in name else (404, code or "RepoNotFound")
            told = f"X-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 {status} No\r\n{told}".encode())
            return await writer.drain()
        body = self.files[name]
        size = self.sizes.get(name, len(body))
        offset = int(found[1]) if (found := re.match(r"bytes=(\d+)-", headers.get("range", ""))) else 0
        etag = hashlib.sha256(body).hexdigest()
        partly = f"Content-Range: bytes {offset}-{size - 1}/{size}\r\n" if "range" in headers else ""
        writer.write(
            f'HTTP/1.1 {"206 Partial" if partly else "200 OK"}\r\nETag: "{etag}"\r\nX-Repo-Commit: {COMMIT}\r\n{partly}'
            f"Content-Length: {size - offset}\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n".encode()
        )
        if method == "GET":
            self.offsets.append(offset)
            sent = body[offset:] if self.cut_after is None else body[offset : self.cut_after]
            writer.write(sent)
            self.served += len(sent)
        await writer.drain()
        if method == "GET" and self.cut_after is not None:
            writer.transport.close()
        return None
