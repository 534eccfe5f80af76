"""Generate docs/guarantees.md: what is promised, which faults are survived how, and the tests that inject them.

The names of the tests are collected from the suite (``pytest.mark.fault``), so the page cannot claim what no test runs.
``--check`` writes nothing and fails when the page differs from what the tests say.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "guarantees.md"

PROMISES = {
    "P1": "However often a connection drops, what a reader has put together is the stored answer, byte for byte.",
    "P2": "Every stream ends with exactly one `done` or `error`. One that just ends was cut, which is never success.",
    "P3": "Stop works from every tab and worker: within 500 ms no more text comes and the model is left.",
    "P4": "A lost connection is no Stop: the answer goes on for a grace time and can be followed again.",
    "P5": "The question is stored before the first byte of the answer, and the text so far about once a second. After "
    "a crash the answer is marked as interrupted within 15 s, keeps its beginning, and is not generated again unasked.",
    "P6": "A request with a `client_request_id` is generated at most once, however often it is sent.",
    "P7": "An event stream is never silent for longer than 10 s, also through a stock nginx.",
    "P8": "A document is searchable when all of it is indexed, and leaves nothing behind when it is deleted.",
    "P9": "Nobody sees anything of another user; what is not yours looks like what does not exist.",
    "P10": "Reading and indexing documents never delays anyone's answer.",
    "P11": "The bytes of a stream grow with the text and no faster; no event is larger than 64 KiB.",
    "P12": "On SIGTERM running answers get time to finish, the rest are saved and say so, and the exit code is 0.",
}

GROUPS: dict[str, dict[int, tuple[str, str]]] = {
    "The model's server": {
        1: ("It refuses the connection.", "`model_unavailable` within 2 s; after five in a row no try for 10 s."),
        2: ("It never accepts the connection, or has no address.", "`model_unavailable` at the connect timeout."),
        3: ("It answers 429.", "A `Retry-After` up to 30 s is waited for once, else `model_rate_limited`."),
        4: ("It answers 502 or 503, perhaps with a page.", "`model_unavailable`; the page is never shown."),
        5: ("It refuses our key.", "`model_auth`, not tried again; the key is in no log."),
        6: ("It does not have the model.", "`model_not_found`."),
        7: ("It is silent before its headers.", "Heartbeats, then `first_token_timeout`."),
        8: ("It is silent after its headers.", "The same."),
        9: ("It falls silent in mid-answer.", "`idle_timeout`; the text so far is kept as interrupted."),
        10: ("It resets the connection in mid-answer.", "`upstream_truncated`; kept as interrupted, not asked again."),
        11: ("It closes the connection without the mark of the end.", "The same; never `done`."),
        12: ("It sends a chunk that is not JSON.", "`model_protocol`; the text so far is kept."),
        13: ("It sends an error inside the stream.", "`model_error`; the text so far is kept."),
        14: ("It sends chunks without content.", "They are passed over."),
        15: ("The network cuts its bytes anywhere.", "The text is the same."),
        16: ("It uses every spelling that event streams allow.", "It is read as the specification says."),
        17: ("It sends another type of content.", "A whole JSON answer is understood, a page is `model_protocol`."),
        18: ("It never ends.", "Cut at the limit of bytes (`limit`) or of time (`total_timeout`), and left."),
        19: ("It sends a line of 10 MB.", "`model_protocol`, without the memory for it."),
        20: ("It sends 10 000 tokens at once.", "Nothing is lost, and they go out in few writes."),
        21: ("It drips bytes that are no token.", "`idle_timeout`: only text counts."),
        22: ("It sends compressed bytes.", "Not asked for, refused as `model_protocol`, never inflated."),
        23: ("It redirects to another host.", "Not followed; the other host never sees the key."),
        24: ("It goes on although we left.", "Our connection is closed within 500 ms and its slot is free."),
    },
    "The client": {
        26: ("It never reads.", "Cut off after the write timeout; the answer goes on and can be resumed."),
        27: ("It reads slowly.", "It delays nobody, and resumes exactly."),
        28: ("It vanishes without a word.", "The kernel is told to probe, and gives it up within 45 s."),
        29: ("It reloads fifty times during one answer.", "The text is whole, and the model was asked once."),
        30: ("It resumes with a false cursor.", "409 for another run's or a future one, 422 for nonsense."),
        31: ("Two tabs follow an answer and one stops it.", "Both get the same last event with the same number."),
        32: ("It sends the same request twice.", "One answer, replayed; another body under the same id is 409."),
        33: ("Its head or its body comes a byte at a time, 500 times over.", "408 and closed; others notice nothing."),
        34: ("Its head has 16 MB, or 100 000 fields.", "431 and closed; the memory stays as it was."),
        35: ("It opens too many streams.", "429 for the one too many; the open ones go on."),
        36: ("Its upload is cut, or never ends.", "No document, no temporary file after 60 s, nothing counted."),
        37: ("Its body is longer than it says, or than is taken.", "400 or 413, at the latest at the limit."),
    },
    "The process": {
        38: ("It is killed during an answer.", "Interrupted within 15 s, at most a second of text lost."),
        39: ("It is killed before the first event.", "The question is kept, and asking again with its id is safe."),
        40: ("It is asked to end with 20 open streams.", "They finish or end as `shutdown`; exit code 0."),
        41: ("It is asked twice.", "Everything is saved and it ends within 2 s."),
        42: ("Two workers are restarted in turn under load.", "No question is lost or asked twice."),
        43: ("A worker sleeps past its lease and wakes up.", "What it writes late is refused."),
        44: ("It stands still.", "It logs that, is not ready for a while, and the streams go on."),
        45: ("Stop reaches another worker than the answer's.", "It stops within 500 ms."),
        48: ("It has no file descriptors left.", "New connections are refused, open streams live, it recovers."),
        49: ("Two hundred people log in at once.", "Some get 503 with `Retry-After`; the streams do not notice."),
        50: ("The clock jumps by an hour.", "Streams, timeouts and leases do not notice."),
    },
    "Documents and indexes": {
        25: ("Its embedder gives no numbers, zeros, too few vectors or too long ones.", "Failed; nothing is visible."),
        46: ("Reading a file needs more memory than there is.", "Its reader dies alone; failed, not tried again."),
        47: ("Reading a file never ends.", "Its reader is killed at the limit; failed, not tried again."),
        55: ("The worker is killed, after any transaction.", "As if never killed, after delete nothing is left."),
        56: ("A document is deleted or cancelled while it is indexed.", "At every step: it does not come back."),
        57: ("An index is damaged, lost or of another shape.", "Found by its sums, rebuilt; `rebuilding` till then."),
        74: ("A worker sleeps, and another takes its document.", "What it writes late is refused."),
    },
    "Redis": {
        63: ("It is killed in mid-answer.", "Its readers go on with the stored text; nothing is doubled or lost."),
        64: ("It comes back.", "Stop works across workers again within 5 s."),
        65: ("It stalls.", "A command waits a second at most, and the answer goes on."),
        66: ("It is emptied.", "Readers end without a last event, a resume is 410, the snapshot is right."),
        67: ("It has no memory left.", "A trimmed log is 410 with a snapshot, never a 500."),
    },
    "Proxies": {
        72: ("nginx buffers and compresses.", "Every token still arrives before the next is said."),
        73: ("A proxy closes what is silent.", "Heartbeats keep the stream open."),
    },
}  # fmt: skip


class Found:
    """A pytest plugin that notes which tests inject which row."""

    def __init__(self) -> None:
        """Nothing was found yet."""
        self.rows: dict[int, list[str]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the tests, each once however it is parametrized, unless a parameter is a fault of its own."""
        for item in items:
            for mark in item.iter_markers("fault"):
                file, _, name = re.sub(r"-?\bx\d\]$", "]", item.nodeid).partition("::")
                if not re.search(r"\[\d\d-", name):
                    name = name.partition("[")[0]
                shown = f"`{file.removeprefix('tests/')}::{name}`"
                if shown not in self.rows[mark.args[0]]:
                    self.rows[mark.args[0]].append(shown)


def collect() -> dict[int, list[str]]:
    """The tests of every row. Fails where the suite cannot be collected."""
    found, output = Found(), io.StringIO()
    os.chdir(ROOT)
    with contextlib.redirect_stdout(output):
        code = pytest.main(["--collect-only", "-q", "-m", "fault", "-p", "no:cacheprovider"], plugins=[found])
    if code:
        sys.exit(output.getvalue())
    known = {number for rows in GROUPS.values() for number in rows}
    if unknown := found.rows.keys() - known:
        sys.exit(f"tests inject faults that tools/guarantees.py does not describe: {sorted(unknown)}")
    return found.rows


def page(tests: dict[int, list[str]]) -> str:
    """The whole page."""
    known = [number for rows in GROUPS.values() for number in rows]
    lines = [
        "# What Lorestream guarantees",
        "",
        "Generated from the tests by `make wire`; the promises are those of [design.md](design.md).",
        "",
        "| | promise |",
        "|---|---|",
        *(f"| {name} | {text} |" for name, text in PROMISES.items()),
        "",
        "## Faults",
        "",
        "What is promised here is what the tests assert of a whole server.",
        f"{sum(bool(tests.get(number)) for number in known)} of {len(known)} have their tests.",
    ]
    for title, rows in GROUPS.items():
        lines += ["", f"### {title}", "", "| # | fault | what happens | tests |", "|---|---|---|---|"]
        for number, (fault, outcome) in rows.items():
            lines.append(f"| {number} | {fault} | {outcome} | {'<br>'.join(tests.get(number, ['none yet']))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or with ``--check`` compare it."""
    text = page(collect())
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif not PAGE.is_file() or PAGE.read_text() != text:
        sys.exit("docs/guarantees.md is not what the tests say; run `make wire`")


if __name__ == "__main__":
    main()
