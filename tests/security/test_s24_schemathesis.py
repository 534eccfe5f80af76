"""S24: schemathesis over the API's own description, in all its phases, against a whole server, logged in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.security.every_route import tried

ROOT = Path(__file__).parents[2]
PHASES = "examples,coverage,fuzzing,stateful"
# What no schema can say: a cursor that this list gave, a password that is not among the commonest. What is refused by
# such rules is refused with a 422 that the schema does name, and those are checked.
NOT_IN_SCHEMAS = "positive_data_acceptance"
# A 404 there is of the documents in the body, not of the collection that was just made; the address of archives is
# also that of a batch of this name, so that it allows GET; a refusal may come from the connection (413, 414, 431).
CONFIG = """
[checks]
negative_data_rejection.expected-statuses = [
    400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, 431, "5xx",
]

[[operations]]
include-path = "/batches/archives"
checks.allow_header_conformance.enabled = false

[[operations]]
include-name = "POST /collections/{collection_id}/documents"
checks.ensure_resource_availability.enabled = false
"""
SECONDS, LONG_SECONDS = 60, 600


@pytest.mark.timeout(LONG_SECONDS + 120)
def test_nothing_that_the_description_allows_or_forbids_breaks_the_server(
    tmp_path: Path, models_dir: Path, measured: Callable[[str], None], soak: bool
) -> None:
    with tried(tmp_path, models_dir, query_rate="1000000/minute") as at:
        at.settle()
        described = tmp_path / "openapi.json"
        described.write_text(json.dumps(at.document))
        (tmp_path / "st.toml").write_text(CONFIG)
        pid, report = at.server.process.pid, tmp_path / "report.json"
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "tests.security.schemathesis_login",
            "PYTHONPATH": str(ROOT),
            "TRIED_DATABASE": str(at.server.data_dir / "lorestream.db"),
            "TRIED_TOKEN": at.http.headers["authorization"].removeprefix("Bearer "),
            "TRIED_IDS": json.dumps(
                {
                    "doc_id": at.ids["document"],
                    "collection_id": at.ids["collection"],
                    "batch_id": at.ids["batch"],
                    "conversation_id": at.ids["conversation"],
                    "message_id": at.ids["answer"],
                    "run_id": at.ids["run"],
                }
            ),
        }
        command = [
            *(str(Path(sys.executable).with_name("st")), "--config-file", "st.toml"),
            *("run", str(described), "--url", at.server.url),
            *("--phases", PHASES, "--exclude-checks", NOT_IN_SCHEMAS, "--continue-on-failure"),
            *("--max-time", str(LONG_SECONDS if soak else SECONDS), "--max-examples", "100" if soak else "10"),
            *("--workers", "2", "--request-timeout", "30", "--seed", str(SEED), "--no-color"),
            *("--report", "json", "--report-json-path", str(report)),
        ]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert report.is_file(), ran.stdout + ran.stderr
        found = json.loads(report.read_text())
        phases = {name: phase["status"] for name, phase in found["phases"].items()}
        counts, operations = found["test_cases"], found["operations"]
        measured(
            f"schemathesis: {counts['generated']} cases over {operations['tested']} of {operations['total']} "
            f"operations in {found['running_time']:.0f} s, {counts['unique_failures']} failures; "
            + ", ".join(f"{name} {status}" for name, status in phases.items())
        )
        told = ran.stdout.partition("= FAILURES =")[2] or ran.stdout
        assert not found["failures"], "\n".join(line[:300] for line in told.splitlines())[:20_000]
        assert not found["errors"], ran.stdout[-20_000:]
        assert phases.keys() >= set(PHASES.split(","))
        assert operations["tested"] == operations["total"]
        assert at.server.process.poll() is None
        assert at.server.process.pid == pid
        log = "".join(at.server.output)
        assert "Traceback" not in log, log[-5000:]
