"""Tokens: what an access token holds, how long it lives, and the one successor of a refresh token."""

from __future__ import annotations

import jwt
import pytest

from lorestream.accounts.tokens import Tokens, token_hash
from lorestream.errors import Unauthenticated

SECRET = bytes(range(32))


class Seconds:
    def __init__(self) -> None:
        self.now = 1_770_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_access_token_says_who_and_for_how_long() -> None:
    clock = Seconds()
    tokens = Tokens(SECRET, 600, clock)
    token = tokens.issue_access("u" * 32, "s" * 32)
    assert tokens.check_access(token) == ("u" * 32, "s" * 32)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp", "typ"}
    assert claims["exp"] - claims["iat"] == 600
    assert jwt.get_unverified_header(token).keys() == {"alg", "typ", "kid"}
    assert tokens.issue_access("u", "s") != tokens.issue_access("u", "s")


def test_its_life_ends_on_time_and_survives_a_clock_set_back_a_little() -> None:
    clock = Seconds()
    tokens = Tokens(SECRET, 30, clock)
    token = tokens.issue_access("u", "s")
    clock.now += 29
    tokens.check_access(token)
    clock.now += 1
    with pytest.raises(Unauthenticated):
        tokens.check_access(token)
    clock.now -= 30 + 59
    tokens.check_access(token)
    clock.now -= 10
    with pytest.raises(Unauthenticated):
        tokens.check_access(token)


def test_a_refresh_token_has_one_successor_that_only_this_server_can_know() -> None:
    tokens = Tokens(SECRET, 600)
    first = tokens.new_refresh()
    assert len(first) >= 43  # 256 bits
    assert tokens.successors(first) == tokens.successors(first)
    chain = {first}
    for _ in range(100):
        [first] = tokens.successors(first)
        chain.add(first)
    assert len(chain) == 101
    assert Tokens(bytes(reversed(SECRET)), 600).successors(first) != tokens.successors(first)
    assert len(token_hash(first)) == 32


def test_of_several_secrets_the_newest_signs_and_all_are_believed() -> None:
    newer, newest = bytes(reversed(SECRET)), b"n" * 32
    old = Tokens(SECRET, 600)
    ring = Tokens(newest, 600, older=[newer, SECRET])
    token = old.issue_access("u", "s")
    assert ring.check_access(token) == ("u", "s")
    assert not ring.is_of_unknown_key(token)
    assert old.is_of_unknown_key(ring.issue_access("u", "s"))
    assert not old.is_of_unknown_key("no token")
    with pytest.raises(Unauthenticated):
        old.check_access(ring.issue_access("u", "s"))
    with pytest.raises(Unauthenticated):
        Tokens(newest, 600, older=[newer]).check_access(token)
    assert ring.successors("t") == [Tokens(key, 600).successors("t")[0] for key in (newest, newer, SECRET)]
