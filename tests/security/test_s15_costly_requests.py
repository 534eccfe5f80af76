"""S15: requests that once were costly to read: thousands of ranges, 100 000 fields, bodies without a bound."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lorestream.middleware import MAX_JSON_BYTES
from tests.fakes.raw import sent
from tests.security.every_route import Tried

FORM = "application/x-www-form-urlencoded"


def test_thousands_of_ranges_are_no_work(at: Tried) -> None:
    """Served whole or refused, and at once: 50 ms at best of five."""
    at.settle()
    target = f"/documents/{at.ids['document']}/file"
    whole = at.http.get(target).content
    assets = at.http.get("/").text.partition('src="')[2].partition('"')[0]
    for ranges in (
        ",".join(f"{n}-{n}" for n in range(5000)),
        ",".join(["0-"] * 5000),
        ",".join(["-1"] * 5000),
        ",".join(f"0-{n}" for n in range(5000)),
    ):
        for path in (target, assets or target):
            took = []
            for _ in range(5):
                began = time.perf_counter()
                answer = at.http.get(path, headers={"Range": f"bytes={ranges}"})
                took.append(time.perf_counter() - began)
                assert answer.status_code in {200, 400, 416}
            assert min(took) < 0.05
        assert answer.status_code != 200 or path != target or answer.content == whole
    one = at.http.get(target, headers={"Range": "bytes=2-10"})
    assert (one.status_code, one.content) == (206, whole[2:11])


@pytest.mark.parametrize("joint", ["&", ";"])
def test_a_form_of_100_000_fields_is_refused(at: Tried, joint: str) -> None:
    content = joint.join(f"f{n}=1" for n in range(100_000)).encode()
    began = time.perf_counter()
    answer = at.http.post("/auth/token", content=content, headers={"Content-Type": FORM})
    assert 400 <= answer.status_code < 500
    assert time.perf_counter() - began < 5
    assert at.http.get("/healthz").status_code == 200


def test_a_form_of_many_parts_is_refused(at: Tried) -> None:
    parts = {f"f{n}": (None, b"1") for n in range(5000)}
    for path in ("/auth/token", "/documents/"):
        at.settle()
        assert at.http.post(path, files=parts).status_code in {400, 422}
    head = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + b"a" * 500_000 + b'"\r\n\r\nx\r\n--x--\r\n'
    )
    answer = at.http.post("/documents/", content=head, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert 400 <= answer.status_code < 500


def post(target: str, *fields: str) -> bytes:
    lines = (f"POST {target} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *fields)
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize("target", ["/auth/register", "/query/", "/conversations/", "/nothing", "/"])
async def test_a_body_over_the_limit_is_refused_without_its_length_being_believed(at: Tried, target: str) -> None:
    url, sizes = at.server.url, 0

    def endless() -> Iterator[bytes]:
        nonlocal sizes
        yield post(target, "Transfer-Encoding: chunked")
        while sizes < 64 * MAX_JSON_BYTES:
            sizes += 65536
            yield b"10000\r\n" + b" " * 65536 + b"\r\n"

    got = await sent(url, endless())
    assert got.statuses in ([413], [404], [405])
    assert got.closed
    assert sizes < 16 * MAX_JSON_BYTES, "what the kernels keep between us is some megabytes"
    declared = await sent(url, post(target, f"Content-Length: {MAX_JSON_BYTES + 1}"))
    assert declared.statuses == [413]
    for length in ("-1", "1e3", "0x10", "9" * 400):
        assert (await sent(url, post(target, f"Content-Length: {length}"))).statuses in ([400], [413], [422])
