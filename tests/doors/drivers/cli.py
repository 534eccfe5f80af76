"""The command line, logged in to the server: ``lorestream ask --json`` in a pipe, ``lorestream chat`` at a terminal."""

from __future__ import annotations

import json
import re
import signal
import tempfile
from pathlib import Path

from tests.clients.commands import CTRL_C, CTRL_D, at_terminal, logged_in, started
from tests.doors.client import Driver, Seen, Target
from tests.doors.drivers.base import note


class Ask:
    """``lorestream ask --json``; it stops by SIGINT."""

    name, names_model, sourced = "lorestream ask --json", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen, model = Seen(), ("--model", target.model) if target.model else ()
        with tempfile.TemporaryDirectory() as home:
            logged_in(Path(home), target.url, target.token)
            async with started(Path(home), "ask", target.question, "--json", *model) as process:
                assert process.stdout
                async for line in process.stdout:
                    note(seen, json.loads(line))
                    if stop and seen.text and not seen.stopped_at:
                        seen.stop()
                        process.send_signal(signal.SIGINT)
                code = await process.wait()
        if stop:
            seen.end = "stopped" if code == 130 else f"exit code {code}"
        assert code == {"done": 0, "stopped": 130}.get(seen.end, 1), (code, seen)
        return seen


class Chat:
    """``lorestream chat``; it stops by Ctrl-C."""

    name, names_model, sourced = "lorestream chat", True, True

    async def ask(self, target: Target, *, stop: bool = False) -> Seen:
        seen, model = Seen(), ("--model", target.model) if target.model else ()
        with tempfile.TemporaryDirectory() as home:
            logged_in(Path(home), target.url, target.token)
            async with at_terminal(Path(home), "chat", *model) as terminal:
                await terminal.until("> ")
                terminal.type(target.question.encode() + b"\n")
                await terminal.until("\n")
                if stop:
                    await terminal.until("\n\nP")
                    seen.stop()
                    seen.text = "P"
                    terminal.type(CTRL_C)
                    seen.text += (await terminal.until("(stopped)")).removesuffix("(stopped)").replace("^C", "").strip()
                shown = await terminal.until("> ")
                terminal.type(CTRL_D)
                code = await terminal.process.wait()
        if not stop:
            seen.sources = len(re.findall(r"(?m)^\[\d+\] ", shown)) or None
            answer = shown.partition("\n\n")[2] if seen.sources else ""
            lines = answer.strip().removesuffix(">").strip().split("\n")
            finished = re.fullmatch(r"openai:\S+, [0-9.]+ s", lines[-1]) is not None
            seen.end = "done" if finished else lines[-1] if answer else shown.strip().removesuffix("\n>")
            seen.text = "\n".join(lines[:-1]).strip()
        assert code == {"done": 0, "stopped": 130}.get(seen.end, 1), (code, seen)
        return seen


DRIVERS: list[Driver] = [Ask(), Chat()]
