"""S12: nothing that a client names is ever opened: neither a field nor a path leads out of the server's own files."""

from __future__ import annotations

import re

import pytest

from tests.fakes.raw import sent
from tests.security.every_route import Tried, texts

LIKE_A_PATH = re.compile(r"path|file|dir|folder|url|uri|endpoint|host|template|module|class", re.IGNORECASE)
PLACES = ("/proc/self/environ", "/etc/passwd")
ROOT = b"root:x:0:0"


def probes(at: Tried) -> list[str]:
    outside, up = str(at.outside), "../" * 12
    return [
        *PLACES,
        outside,
        up + "proc/self/environ",
        up + outside[1:],
        (up + "etc/passwd").replace("/", "%2f"),
        "....//" * 12 + "etc/passwd",
        "..\\" * 12 + "etc\\passwd",
        f"file://{outside}",
        f"{outside}\0.txt",
        "../outside.txt",
        "~/.ssh/id_rsa",
    ]


def assert_nothing_got_out(at: Tried, content: bytes) -> None:
    assert at.canary.encode() not in content
    assert ROOT not in content


def test_no_field_is_made_for_a_path(at: Tried) -> None:
    suspects = {(str(route), one.name) for route in at.routes for one in route.fields if LIKE_A_PATH.search(one.name)}
    uploads = {("POST /documents/", "file"), ("POST /batches/archives", "file")}
    assert suspects == uploads, "the files of uploads, whose names are only shown"


def test_paths_in_every_text_of_every_route_lead_nowhere(at: Tried) -> None:
    """All of them in the path of a request; half of them in any other text, the other half in the next one."""
    tried = 0
    for route in at.routes:
        for number, one in enumerate(texts(route)):
            for probe in probes(at) if one.where == "path" else probes(at)[number % 2 :: 2]:
                value = probe.replace("\0", "%00") if one.where == "path" else probe
                if one.where == "header":
                    value = value.replace("\0", "")
                answer = at.request(route, {one.name: value})
                assert answer.status_code < 500, (str(route), one.name, probe, answer.text[:200])
                assert_nothing_got_out(at, answer.content)
                tried += 1
    assert tried > 300
    assert at.outside.read_text() == f"outside {at.canary}"


@pytest.mark.parametrize("base", ["/", "/assets/", "/documents/", "/c/", "/index.html/", "/favicon.svg/"])
async def test_paths_of_requests_lead_nowhere(at: Tried, base: str) -> None:
    for probe in probes(at):
        target = base + probe.replace("\0", "%00").replace(" ", "%20")
        got = await sent(at.server.url, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        is_page = base == "/c/" and b"<!doctype html>" in got.data.lower()
        assert is_page or got.statuses[:1] in ([400], [401], [404], [405]), (target, got.data[:200])
        assert_nothing_got_out(at, got.data)


def test_the_name_of_an_upload_is_no_path(at: Tried) -> None:
    at.settle()
    for number, probe in enumerate(probes(at)[::2]):
        content = f"Upload number {number} says nothing of interest.".encode()
        files = {"file": (probe.replace("\0", "%00") + ".txt", content)}
        answer = at.http.post("/documents/?wait=60", files=files)
        assert answer.status_code in {201, 422}, answer.text
        assert_nothing_got_out(at, answer.content)
        if answer.status_code == 201:
            document = answer.json()
            assert not re.search(r"[/\\]", document["filename"])
            assert at.http.get(f"/documents/{document['doc_id']}/file").content == content
            assert at.http.delete(f"/documents/{document['doc_id']}").status_code == 204
