"""The command line over a server and over a data directory: what it prints, how it ends, that Ctrl-C is Stop."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from lorestream.cli import app
from lorestream.client import AsyncClient
from lorestream.commands.logins import Kept, StoredLogin
from lorestream.commands.terminal import EXIT_FAILED, EXIT_NO_ANSWER, EXIT_OK, EXIT_STOPPED, exit_code, shown
from lorestream.errors import LorestreamError
from lorestream.streaming.events import Done, Fold, Timings, Token
from tests.clients.commands import CTRL_C, CTRL_D, at_terminal, environment, logged_in, run, started
from tests.clients.world import At, serving
from tests.fakes.reading import QUESTION
from tests.fakes.server import EMAIL, PASSWORD
from tests.fakes.upstream import Finish, Hold, Say

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
STOP_SECONDS = 0.5


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> AsyncIterator[At]:
    async with serving(tmp_path_factory.mktemp("commands") / "data", models_dir) as one:
        yield one


@pytest.fixture
def home(tmp_path: Path, at: At, models_dir: Path) -> Path:
    """Of a user who is logged in to the server, and has a data directory of their own with no account in it."""
    logged_in(tmp_path, at.url, at.token)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "models").symlink_to(models_dir, target_is_directory=True)
    return tmp_path


async def call(home: Path, *arguments: str, typed: str = "") -> Result:
    """A command in this process, for those that Ctrl-C does not concern."""
    runner = CliRunner(env=dict.fromkeys(("XDG_CONFIG_HOME",)) | environment(home))
    return await asyncio.to_thread(runner.invoke, app, arguments, input=typed)


async def test_login_keeps_what_nobody_else_can_read_and_logout_ends_it(at: At, home: Path) -> None:
    file = home / ".config" / "lorestream" / "login.json"
    file.unlink()
    nobody = await call(home, "search", "x")
    assert isinstance(nobody.exception, LorestreamError)
    assert "lorestream login" in nobody.exception.message
    wrong = await call(home, "login", at.url, "--email", EMAIL, typed="not-my-password\n")
    assert isinstance(wrong.exception, LorestreamError)
    assert not file.exists()
    given = await call(home, "login", at.url, "--email", EMAIL, "--json", typed=PASSWORD + "\n")
    assert json.loads(given.stdout) == {"url": at.url, "email": EMAIL}
    assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    assert (await call(home, "search", "capital")).exit_code == 0
    refresh = json.loads(file.read_text())["refresh_token"]
    assert (await call(home, "logout")).exit_code == 0
    assert not file.exists()
    async with AsyncClient(at.url) as client:
        client.login.refresh_token = refresh
        with pytest.raises(LorestreamError):
            await client.me()
    refused = await call(home, "login", at.url, "--api-key", typed="lsk_wrong\n")
    assert isinstance(refused.exception, LorestreamError)
    assert not file.exists()


async def test_a_login_is_renewed_by_one_process_and_read_by_the_other(at: At, home: Path) -> None:
    folder = home / ".config" / "lorestream"
    async with AsyncClient(at.url, login=StoredLogin(folder, Kept(at.url))) as first:
        await first.log_in(EMAIL, PASSWORD)
        second = StoredLogin.read(folder)
        second._until = 0.0  # both believe that the access token is about to end
        first.login._until = 0.0
        await first.me()
        async with AsyncClient(at.url, login=second) as other:
            await other.me()
        assert second.refresh_token == first.login.refresh_token, "the second one took what the first had renewed"
        StoredLogin(folder, Kept("http://127.0.0.1:9", "other", "secret")).save()
        first.login._until = 0.0
        with pytest.raises(LorestreamError, match="meanwhile"):
            await first.me()


async def test_documents_are_added_listed_found_and_removed(home: Path) -> None:
    (home / "papers").mkdir()
    (home / "papers" / "rome.txt").write_text("Rome is the capital of Italy.")
    (home / "papers" / "tune.mp3").write_bytes(b"ID3")
    added = await call(home, "documents", "add", str(home / "papers"), "--collection", "Italy", "--json")
    assert added.exit_code == 1, "a file of no known type failed"
    assert "tune.mp3" in added.stderr
    document = json.loads(added.stdout)
    assert (document["filename"], document["status"]) == ("rome.txt", "ready")
    listed = await call(home, "documents", "list", "rome")
    assert listed.stdout.split()[:2] == [document["doc_id"], "rome.txt"]
    assert "\x1b" not in listed.stdout
    assert (await call(home, "documents", "wait")).exit_code == 0
    found = await call(home, "search", "capital of Italy", "--collection", "Italy", "--json")
    assert [item["text"] for item in json.loads(found.stdout)["items"]] == ["Rome is the capital of Italy."]
    assert (await call(home, "documents", "remove", document["doc_id"])).exit_code == 0
    again = await call(home, "documents", "remove", document["doc_id"])
    assert (again.exit_code, document["doc_id"] in again.stderr) == (1, True)


async def test_a_data_directory_is_asked_without_a_server(home: Path) -> None:
    own = ("--data-dir", str(home / "own"))
    nobody = await call(home, "documents", "list", *own)
    assert isinstance(nobody.exception, LorestreamError)
    assert "no account" in nobody.exception.message
    made = await call(home, "users", "add", "ann@example.com", *own)
    assert made.exit_code == 0, made.output
    (home / "oslo.txt").write_text("Oslo is the capital of Norway.")
    added = await call(home, "documents", "add", str(home / "oslo.txt"), *own)
    assert added.exit_code == 0, added.output
    listed = await call(home, "documents", "list", *own, "--json")
    assert json.loads(listed.stdout)["filename"] == "oslo.txt"
    code, out, err = await run(home, "ask", "What is the capital of Norway?", *own, model="reader")
    assert (code, "[1] oslo" in out, "Oslo is the capital of Norway." in out) == (0, True, True), err
    found = await call(home, "search", "Norway", *own, "--json")
    assert json.loads(found.stdout)["items"][0]["title"] == "oslo"


async def test_ctrl_c_before_the_first_token_lets_go_of_the_model(at: At, home: Path) -> None:
    at.fake.play(Hold())
    before = len(at.chats())
    async with started(home, "ask", QUESTION) as process, asyncio.timeout(60):
        connection = await at.chat(before, seconds=60)
        assert process.stdout
        assert b"[1] geo" in await process.stdout.readline(), "the sources came before"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        closed = await connection.closed
        out, err = await process.communicate()
    assert closed - began < STOP_SECONDS
    assert (process.returncode, b"stopped" in out, b"Traceback" in err) == (130, True, False)


async def test_a_chat_goes_on_after_a_stop_and_remembers_its_questions(at: At, home: Path) -> None:
    at.fake.play(Say("Par"), Hold())
    before = len(at.chats())
    async with at_terminal(home, "chat") as terminal, asyncio.timeout(90):
        await terminal.until("> ")
        terminal.type(QUESTION.encode() + b"\n")
        connection = await at.chat(before, seconds=60)
        await terminal.until("Par")
        began = time.monotonic()
        terminal.type(CTRL_C)
        assert await connection.closed - began < STOP_SECONDS
        await terminal.until("(stopped)")
        await terminal.until("> ")
        at.fake.play(Say("Also \x1b[31mred\x1b[0m."), Finish())
        terminal.type(b"And of France?\n")
        answer = await terminal.until("> ")
        assert "Also \ufffd[31mred" in answer, "a model tells the terminal nothing"
        request = at.chats()[-1].request
        assert request
        assert QUESTION in request.body.decode()
        terminal.type(b"/sources\n")
        assert "Paris is the capital of France." in await terminal.until("> ")
        terminal.type(b"/help\n")
        assert "/new" in await terminal.until("> ")
        terminal.type(CTRL_C)
        await terminal.until("Ctrl-D leaves")
        terminal.type(CTRL_D)
        assert await terminal.process.wait() == 0


async def test_a_pipe_of_questions_is_a_chat_of_json_lines(at: At, home: Path) -> None:
    at.fake.play(Say("Paris."), Finish())
    at.fake.play(Say("I don't know based on the provided data."), Finish())
    typed = f"{QUESTION}\nAnd of Atlantis?\n".encode()
    code, out, err = await run(home, "chat", "--json", typed=typed)
    events = [json.loads(line) for line in out.splitlines()]
    ends = [event for event in events if event["type"] == "done"]
    assert [end["finish_reason"] for end in ends] == ["stop", "stop"]
    assert len({end["conversation_id"] for end in ends}) == 1
    assert (code, err) == (EXIT_NO_ANSWER, "")


async def test_refusals_are_one_line_or_one_event(at: At, home: Path) -> None:
    code, out, err = await run(home, "ask", QUESTION, "--model", "openai:missing", "--json")
    (event,) = [json.loads(line) for line in out.splitlines()]
    assert (code, event["type"], event["code"], err) == (EXIT_FAILED, "error", "invalid_input", "")
    logged_in(home, "http://127.0.0.1:9", "x")
    code, out, err = await run(home, "ask", QUESTION)
    assert (code, out) == (EXIT_FAILED, "")
    assert err == "http://127.0.0.1:9 cannot be reached. Is Lorestream running there?\n"
    assert (await call(home, "ask", "  ")).exit_code == 2
    assert (await call(home, "ask", QUESTION, "--k", "99")).exit_code == 2


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ("Paris.", "stop", EXIT_OK),
        ("Par", "length", EXIT_OK),
        ("Par", "cancelled", EXIT_STOPPED),
        ("I don't know based on the provided data.", "stop", EXIT_NO_ANSWER),
        ("I don't know based on the provided data.", "no_context", EXIT_NO_ANSWER),
    ],
)
async def test_exit_codes_say_what_became_of_it(text: str, reason: str, code: int) -> None:
    fold = Fold()
    for event in (Token(text), Done("m", reason, None, Timings(1, 1, 1, 1), [], False, None, "a")):  # type: ignore[arg-type]
        fold.add(event)
    assert exit_code(fold) == code
    assert exit_code(Fold()) == EXIT_FAILED


async def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    assert shown("a\tb\nc\r\nd") == "a\tb\nc\nd"
    assert shown("\x1b]0;x\x07 [bold] \x9b31m") == "\ufffd]0;x\ufffd \\[bold] \ufffd31m"
