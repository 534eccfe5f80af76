"""Every setting is in the README's configuration table."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorestream.settings import PREFIX, Settings

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_setting_has_a_row(name: str) -> None:
    rows = [line for line in README.read_text("utf-8").splitlines() if line.startswith("|")]
    assert any(f"`{PREFIX}{name.upper()}`" in row for row in rows)
