"""The error tree: every leaf is fit for a user, and agrees with the table of docs/design.md, section 4."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lorestream import errors
from lorestream.errors import InvalidInput, LorestreamError, RateLimited, Refused, RunFailed, to_problem

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
TRANSIENT = {
    "retrieval_failed", "rebuilding", "model_unavailable", "model_rate_limited", "model_error", "first_token_timeout",
    "idle_timeout", "total_timeout", "upstream_truncated", "overloaded", "interrupted", "shutdown", "internal",
}  # fmt: skip


def leaves(root: type[LorestreamError]) -> list[type[LorestreamError]]:
    below = root.__subclasses__()
    return [leaf for child in below for leaf in leaves(child)] if below else [root]


OURS = [leaf for leaf in leaves(LorestreamError) if leaf.__module__ == errors.__name__]


@pytest.mark.parametrize("leaf", OURS, ids=lambda leaf: leaf.__name__)
def test_every_leaf_says_something_to_a_person(leaf: type[LorestreamError]) -> None:
    message = leaf().message
    assert message == (leaf.__doc__ or "").strip()
    assert message[0].isupper()
    assert message.endswith((".", "?"))
    assert "\n" not in message
    assert re.fullmatch(r"[a-z_]+", leaf.code)
    assert leaf("other").message == "other"


def test_codes_name_one_failure_each() -> None:
    # ShuttingDown before an answer and Shutdown within one are the same thing to a client.
    counted = Counter(leaf.code for leaf in OURS)
    assert {code for code, times in counted.items() if times > 1} == {"shutdown"}


def test_every_leaf_has_a_status_for_its_branch() -> None:
    for leaf in leaves(Refused):
        assert 400 <= leaf.status < 500 or leaf.status in (503, 507)
    for leaf in leaves(RunFailed):
        assert leaf.status in (404, 422, 500, 502, 503, 504)


def test_the_tree_is_drawn_whole() -> None:
    drawn = (errors.__doc__ or "").split("Every leaf")[0]
    for leaf in OURS:
        assert re.search(rf"\b{leaf.__name__}\b", drawn), leaf.__name__


def test_codes_statuses_and_message_statuses_are_those_of_the_design() -> None:
    text = DESIGN.read_text("utf-8")
    (paragraph,) = re.findall(r"^Error codes, .*$", text, re.MULTILINE)
    designed: dict[str, tuple[int, set[str]]] = {}
    for names, status, rest in re.findall(r"((?:`\w+`(?:, )?)+) \((\d{3})([^)]*)\)", paragraph):
        for code in re.findall(r"`(\w+)`", names):
            designed[code] = (int(status), set(re.findall(r"\b(?:failed|interrupted)\b", rest)))
    ours = {leaf.code: leaf for leaf in leaves(RunFailed) if issubclass(leaf, RunFailed)}
    assert set(ours) == set(designed)
    for code, (status, kept) in designed.items():
        assert ours[code].status == status, code
        assert ours[code].message_status in kept, code
        assert ours[code].retryable == (code in TRANSIENT), code


def test_a_problem_document_carries_what_an_event_would() -> None:
    problem = to_problem(RateLimited(retry_after=7), "request-1")
    assert problem == {
        "type": "about:blank",
        "title": "Too many requests",
        "status": 429,
        "detail": "Too many requests; please wait a moment.",
        "code": "rate_limited",
        "message": "Too many requests; please wait a moment.",
        "retryable": True,
        "retry_after": 7,
        "instance": "request-1",
    }
    fields = {"errors": [{"field": "body.k", "reason": "too large"}]}
    assert to_problem(InvalidInput(fields=fields))["errors"] == fields["errors"]
    assert "instance" not in json.loads(json.dumps(to_problem(InvalidInput())))
