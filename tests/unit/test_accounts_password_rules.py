"""Which passwords are refused, and with which reason."""

from __future__ import annotations

import pytest

from lorestream.accounts.password_rules import check_new_password, common_passwords
from lorestream.errors import InvalidInput

EMAIL = "zoe.miller@example.com"


def reason(password: str, least: int = 8) -> str:
    with pytest.raises(InvalidInput) as refused:
        check_new_password(password, EMAIL, least, "new_password")
    [error] = refused.value.fields["errors"]
    assert error["field"] == "body.new_password"
    return str(error["reason"])


def test_the_list_holds_the_3000_commonest_that_are_long_enough() -> None:
    words = common_passwords()
    assert len(words) == 3000
    assert min(len(word) for word in words) == 8
    assert {"password", "12345678", "iloveyou", "password1", "qwertyuiop"} <= words
    assert all(word == word.casefold() for word in words)
    # What the published smoke test registers with; its rank among the long ones is 8 152.
    assert "secret123" not in words


@pytest.mark.parametrize("password", ["password", "PASSWORD", "Iloveyou", "trustno1"])
def test_common_ones_are_refused_in_any_case(password: str) -> None:
    assert "most common" in reason(password)


@pytest.mark.parametrize("password", [EMAIL, EMAIL.upper(), "zoe.miller", "Zoe.Miller"])
def test_ones_own_email_is_refused(password: str) -> None:
    assert "your email" in reason(password)


def test_the_products_name_is_refused() -> None:
    assert "name of this program" in reason("LoreStream")


@pytest.mark.parametrize("password", ["zzzzzzzzz", "\0" * 8, "23456789:", "fedcba`_", "密" * 20])
def test_rows_of_characters_are_refused(password: str) -> None:
    assert reason(password)


def test_the_bounds_are_in_characters_and_bytes() -> None:
    assert "8 characters" in reason("sécret1")
    assert "12 characters" in reason("elevenchars", 12)
    assert "8 characters" in reason("sécret1".replace("é", "e\u0301")), "as one types it does not count"
    assert "1024 bytes" in reason("ëx" * 342)


@pytest.mark.parametrize(
    "password",
    [
        "secret123",
        "correct horse battery staple",
        "zoe.miller1",
        "lorestream1",
        "密码密码密码密码",
        " spaces ",
        "ab" * 512,
    ],
)
def test_nothing_else_is_asked(password: str) -> None:
    check_new_password(password, EMAIL, 8)
