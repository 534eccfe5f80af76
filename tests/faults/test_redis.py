"""Redis is killed, stalled, emptied, full, and back again, in the middle of answers of two real workers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from lorestream.streaming.events import Done, Token
from tests.fakes.fleet import pair_of_servers
from tests.fakes.reading import Client
from tests.fakes.upstream import Finish, Hold, Say

WORDS = [f"{n} " for n in range(120)]


async def status_of_resume(client: Client, run_id: str, last_id: str) -> tuple[int, str]:
    """The status and code that a resume is answered with; the stream itself is left at once."""
    async with client.http.stream("GET", f"/runs/{run_id}/events", headers={"Last-Event-ID": last_id}) as answer:
        if answer.status_code in (200, 204):
            return answer.status_code, ""
        await answer.aread()
        return answer.status_code, answer.json()["code"]


async def until_status(client: Client, run_id: str, last_id: str, wanted: int, seconds: float = 10) -> str:
    async with asyncio.timeout(seconds):
        while True:
            status, code = await status_of_resume(client, run_id, last_id)
            assert status in (200, 204, 410, 503), "never a 500"
            if status == wanted:
                return code
            await asyncio.sleep(0.05)


@pytest.mark.fault(63)
@pytest.mark.fault(64)
@pytest.mark.timeout(60)
async def test_fault_63_redis_killed_in_mid_answer_and_fault_64_stop_works_again_when_it_is_back(
    tmp_path: Path, models_dir: Path
) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        one, other = pair.clients
        pair.fake.play(Say(WORDS, pause=0.02), Hold())
        async with one.ask(on_disconnect="continue") as stream:
            await stream.until(Token, 10)
            pair.redis.kill()
            await stream.until(Token, len(WORDS))
            gaps = [b - a for a, b in zip(stream.times, stream.times[1:], strict=False)]
            assert max(gaps) < 0.5, "readers beside the model notice nothing"
            assert await until_status(other, stream.run_id, stream.ids[0], 503) == "busy"
            assert (await other.http.get(f"/runs/{stream.run_id}")).status_code == 200
            assert (await other.stop(stream.run_id)).status_code == 503

            pair.redis.start()
            back = time.monotonic()
            async with asyncio.timeout(5):
                while (await other.stop(stream.run_id)).status_code != 202:
                    pass
                await stream.rest()
            assert time.monotonic() - back < 5
        assert isinstance(stream.terminal, Done)
        assert stream.terminal.finish_reason == "cancelled"
        assert stream.text == "".join(WORDS)
        pair.fake.play(Say("Paris."), Finish())
        assert (await other.answer()).text == "Paris."


@pytest.mark.fault(65)
@pytest.mark.timeout(60)
async def test_fault_65_a_redis_that_stands_still_delays_nobody_beside_the_model_and_the_rest_catch_up(
    tmp_path: Path, models_dir: Path
) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        one, other = pair.clients
        pair.fake.play(Say(WORDS, pause=0.02), Finish())
        pair.fake.play(Say("Paris."), Finish())
        async with one.ask(on_disconnect="continue") as stream:
            await stream.until(Token, 10)
            pair.redis.stall()
            reading = asyncio.create_task(stream.rest())
            began = time.monotonic()
            assert (await one.answer()).text == "Paris.", "a new answer does not wait for it either"
            assert time.monotonic() - began < 2
            assert await until_status(other, stream.run_id, stream.ids[0], 503) == "busy"
            await reading
        gaps = [b - a for a, b in zip(stream.times, stream.times[1:], strict=False)]
        assert isinstance(stream.terminal, Done)
        assert max(gaps) < 0.5
        pair.redis.go_on()
        await until_status(other, stream.run_id, stream.ids[0], 200)
        async with other.stream(f"/runs/{stream.run_id}/events") as whole:
            await whole.rest()
        assert (whole.ids, whole.events) == (stream.ids, stream.events)


@pytest.mark.fault(66)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["emptied", "restarted empty"])
async def test_fault_66_after_redis_lost_everything_elsewhere_readers_end_and_resume_is_gone(
    tmp_path: Path, models_dir: Path, how: str
) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        one, other = pair.clients
        gate = asyncio.Event()
        pair.fake.play(Say(WORDS), Hold(gate), Say(["and ", "on."]), Finish())
        async with one.ask(on_disconnect="continue") as stream:
            await stream.until(Token, len(WORDS))
            async with other.stream(f"/runs/{stream.run_id}/events") as elsewhere:
                await elsewhere.until(Token, len(WORDS))
                if how == "emptied":
                    pair.redis.command("FLUSHALL")
                else:
                    pair.redis.kill()
                    pair.redis.start()
                await elsewhere.rest(10)
            assert elsewhere.terminal is None
            gate.set()
            assert await until_status(other, stream.run_id, stream.ids[0], 410) == "gone"
            await stream.rest()
        stored = (await other.http.get(f"/runs/{stream.run_id}")).json()
    assert isinstance(stream.terminal, Done)
    assert stored["status"] == "done"
    assert stored["content"] == stream.text == "".join(WORDS) + "and on."


@pytest.mark.fault(67)
@pytest.mark.timeout(60)
async def test_fault_67_a_full_redis_fails_nothing(tmp_path: Path, models_dir: Path) -> None:
    async with pair_of_servers(tmp_path, models_dir) as pair:
        one, other = pair.clients
        pair.fake.play(Say(WORDS, pause=0.01), Finish(), always=True)
        pair.redis.command("CONFIG", "SET", "maxmemory", "1")
        async with one.ask(on_disconnect="continue") as stream:
            await stream.until(Token, 5)
            code = await until_status(other, stream.run_id, stream.ids[0], 410)
            assert code == "gone"
            assert (await other.stop("0" * 32)).status_code == 404
            assert (await other.stop(stream.run_id)).status_code in (202, 503)
            await stream.rest()
        assert isinstance(stream.terminal, Done)
        assert stream.text == "".join(WORDS)
        stored = (await other.http.get(f"/runs/{stream.run_id}")).json()
        assert (stored["status"], stored["content"]) == ("done", stream.text)
        pair.redis.command("CONFIG", "SET", "maxmemory", "0")
        await until_status(other, stream.run_id, stream.ids[-1], 204)
