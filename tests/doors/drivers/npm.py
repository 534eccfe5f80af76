"""Our own npm packages in Node, as they are published: built by ``make setup``."""

from __future__ import annotations

from tests.doors.client import Driver, Script

DRIVERS: list[Driver] = [
    Script("@lorestream/client, stop()", "npm-client.mjs", names_model=True),
    Script("@lorestream/client, an aborted signal", "npm-abort.mjs", names_model=True),
    Script("@lorestream/react useAnswer", "npm-react.mjs", names_model=True),
]
