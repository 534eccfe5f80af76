"""The same client over TLS: certificates are checked, tokens arrive, and Stop closes the connection."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from lorestream.errors import ModelUnavailable
from lorestream.providers.openai import OpenAIModel
from lorestream.providers.upstream import Endpoint
from tests.fakes.chat import HOW, PROMPT, TEXT, collect, finish_of, text_of
from tests.fakes.upstream import Endless, FakeUpstream, Finish, Say

OPENSSL = shutil.which("openssl")
LOOPS = ("asyncio", "uvloop")
pytestmark = [pytest.mark.timeout(30), pytest.mark.skipif(OPENSSL is None, reason="makes a certificate with openssl")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = subprocess.run(
        [
            *(str(OPENSSL), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "-"),
        ],
        capture_output=True,
        check=True,
    )
    path.write_bytes(made.stdout)
    return path


async def serve(fake: FakeUpstream, certificate: Path) -> FakeUpstream:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return await fake.start(tls=context)


def model_of(fake: FakeUpstream, trusted: Path | None) -> OpenAIModel:
    endpoint = Endpoint(fake.base_url, "key")
    if trusted:
        assert endpoint.tls
        endpoint.tls.load_verify_locations(trusted)
    return OpenAIModel("tiny", endpoint)


async def test_an_answer_arrives_over_tls(certificate: Path) -> None:
    fake = await serve(FakeUpstream("openai"), certificate)
    fake.play(Say(TEXT), Finish())
    deltas, failure = await collect(model_of(fake, certificate).stream(PROMPT, HOW))
    await fake.stop()
    assert failure is None
    assert text_of(deltas) == "".join(TEXT)
    assert finish_of(deltas).reason == "stop"


async def test_a_certificate_that_nobody_signed_is_refused_before_the_key_is_sent(certificate: Path) -> None:
    fake = await serve(FakeUpstream("openai"), certificate)
    _, failure = await collect(model_of(fake, None).stream(PROMPT, HOW))
    assert not fake.requests
    await fake.stop()
    assert isinstance(failure, ModelUnavailable)


async def test_stop_closes_a_tls_connection(certificate: Path) -> None:
    fake = await serve(FakeUpstream("openai"), certificate)
    fake.play(Endless())
    stream = model_of(fake, certificate).stream(PROMPT, HOW)
    await anext(stream)
    stopped = time.monotonic()
    await stream.aclose()
    closed = await asyncio.wait_for((await fake.connection(0)).closed, 1)
    await fake.stop()
    assert closed - stopped < 0.5
