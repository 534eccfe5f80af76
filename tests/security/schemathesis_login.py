"""Loaded by schemathesis: who it is while it tries the API, and the names of things that there are."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from contextlib import closing
from typing import Any

import schemathesis

DATABASE, TOKEN = os.environ["TRIED_DATABASE"], os.environ["TRIED_TOKEN"]
THERE_IS: dict[str, str] = json.loads(os.environ["TRIED_IDS"])


@schemathesis.auth(refresh_interval=None)
class Login:
    """The one login, alive again where a request before has ended it."""

    def get(self, case: Any, context: Any) -> str:
        """The token."""
        with closing(sqlite3.connect(DATABASE, timeout=10)) as database, database:
            database.execute("UPDATE logins SET revoked_at = NULL WHERE revoked_at IS NOT NULL")
        return TOKEN

    def set(self, case: Any, data: str, context: Any) -> None:
        """Send it."""
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Half of the time ask for what there is; it is never deleted."""
    if path_parameters and context.operation.method.upper() != "DELETE":
        for name, value in path_parameters.items():
            if name in THERE_IS and zlib.crc32(repr(value).encode()) % 2:
                path_parameters[name] = THERE_IS[name]
    return path_parameters
