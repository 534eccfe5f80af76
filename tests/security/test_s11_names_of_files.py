"""S11: a file's name is a label for people, never a path, a header or markup, in any endpoint."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from tests.fakes.server import RunningServer
from tests.security.people import People

NAMES = [
    b"../../x.md", b"/etc/passwd.md", b"..\\..\\x.md", b"C:\\Windows\\win.ini.md", b"\\\\host\\share\\x.md", b"a\0b.md",
    b"x" * 300 + b".md", "a\u202egpj.md".encode(), "tag\U000e0041\U000e0042.md".encode(), b"CON.md", b"NUL", b"aux.txt",
    "🦉 Eule.md".encode(), b'a\\";x=.html.md', b"%2e%2e%2fx.md", b"..%c0%af..%c0%afx.md", b"\xff\xfe\xfd.md", b"-rf.md",
    b"....//....//x.md", b"~/.ssh/authorized_keys.txt", b"$(touch x).md", b"`id`.md", b"a|b;c&d.md", b"<b>bold</b>.md",
    b"secret.key.md", b"lorestream.db.md", b" .md", b"..", b".", b"a\tb.md", b"\x7f\x1b[31m.md", b"x.md\\",
]  # fmt: skip
PATHS = [
    "/documents/..%2f..%2fsecret.key", "/documents/%2e%2e/file", "/documents/..%2florestream.db/file",
    "/documents/....%2f%2fsecret.key/text", "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd", "/assets/%2e%2e/%2e%2e/main.py",
    "/assets/..%5c..%5cmain.py", "/assets//etc/passwd", "/assets/%00", "/..%2f..%2fetc%2fpasswd", "//etc/passwd",
    "/conversations/..%2f..%2fsecret.key/export", "/runs/..%2fsecret.key", "/c/../../secret.key", "/library/../main.py",
]  # fmt: skip


def multipart(name: bytes, content: bytes) -> tuple[bytes, dict[str, str]]:
    """A form as a client writes it that does not care what the name holds."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\n\r\n'
    return head + content + b"\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


def around(data_dir: Path) -> dict[str, str]:
    """What is beside and above the uploads, and must not change: names and hashes."""
    kept = [*data_dir.parent.rglob("*.key"), data_dir.parent / "canary"]
    names = {str(path): "" for path in (*data_dir.iterdir(), *data_dir.parent.iterdir())}
    return names | {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


async def test_no_name_is_a_path_or_a_header(world: tuple[RunningServer, People]) -> None:
    server, people = world
    (server.data_dir.parent / "canary").write_text("untouched")
    before = around(server.data_dir)
    async with httpx.AsyncClient(base_url=server.url, headers=people.bob.headers, timeout=60) as http:
        for number, name in enumerate(NAMES):
            body, headers = multipart(name, b"# Name\n\nNumber %d." % number)
            answer = await http.post("/documents/", params={"wait": 0}, content=body, headers=headers)
            assert answer.status_code in {201, 202}, f"{name!r}: {answer.text}"
            document = answer.json()
            for label in (document["filename"], document["title"]):
                assert 0 < len(label) <= 255
                assert not re.search(r"[/\\]", label) or label == document["title"]
                assert not [one for one in label if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}]
                assert not re.search("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", label)
            await check_download(http, document)
    stored = {path.name for path in (server.data_dir / "files").iterdir()}
    assert all(re.fullmatch(r"[0-9a-f]{32}", name) for name in stored)
    assert around(server.data_dir) == before


async def check_download(http: httpx.AsyncClient, document: dict[str, str]) -> None:
    """RFC 6266: one parameter, quoted or in RFC 5987's coding, and nothing after it."""
    answer = await http.get(f"/documents/{document['doc_id']}/file")
    assert answer.status_code == 200
    header = answer.headers["content-disposition"]
    found = re.fullmatch(r'(?:inline|attachment); filename(?:="([^"\\\r\n]*)"|\*=utf-8\'\'([\w.~%!#$&+^`|-]+))', header)
    assert found, header
    assert (found[1] if found[1] is not None else unquote(found[2])) == document["filename"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    # Nothing of a user's is shown as a page of ours.
    assert answer.headers["content-type"].partition(";")[0] in {"application/octet-stream", "text/plain"}


async def test_a_line_break_in_a_name_is_no_header(world: tuple[RunningServer, People]) -> None:
    server, people = world
    async with httpx.AsyncClient(base_url=server.url, headers=people.bob.headers, timeout=60) as http:
        for name in (
            b'x.md"\r\nX-Evil: 1\r\nContent-Type: text/html',
            b"x\r\nSet-Cookie: a=b.md",
            b"a\nb.md",
            b"a\rb.md",
        ):
            body, headers = multipart(name, b"# Break\n\n" + name)
            answer = await http.post("/documents/", params={"wait": 0}, content=body, headers=headers)
            assert answer.status_code in {200, 201, 202, 422}
            assert not {"x-evil", "set-cookie"} & answer.headers.keys()
            if answer.status_code < 300:
                assert not re.search(r"[\r\n]", answer.json()["filename"])


@pytest.mark.parametrize("path", PATHS)
async def test_no_address_is_a_path(world: tuple[RunningServer, People], path: str) -> None:
    server, people = world
    headers = people.bob.headers
    async with httpx.AsyncClient(timeout=30) as http:
        request = httpx.Request("GET", server.url, headers=headers)
        request.url = request.url.copy_with(raw_path=path.encode())
        answer = await http.send(request)
    assert answer.status_code in {404, 422, 400}, answer.text[:300]
    for secret in (b"root:", b"SQLite format", b"import ", (server.data_dir / "secret.key").read_bytes()[:32]):
        assert secret not in answer.content
