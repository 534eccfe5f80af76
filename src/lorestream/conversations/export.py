"""A conversation as a Markdown document: the newest branch, each answer with its sources. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lorestream.conversations.models import Conversation, StoredMessage

UNTITLED = "Conversation"
ENDINGS = {
    "running": "This answer was still being written.",
    "stopped": "This answer was stopped.",
    "interrupted": "This answer was interrupted.",
    "failed": "This answer failed.",
}
_NO_NAME = re.compile(r"[^a-z0-9]+")


def newest_branch(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    """The messages from the root to the one stored last, in order."""
    by_id = {message.message_id: message for message in messages}
    branch: list[StoredMessage] = []
    at = messages[-1] if messages else None
    while at is not None:
        branch.append(at)
        at = by_id.get(at.parent_id) if at.parent_id else None
    return branch[::-1]


def markdown(conversation: Conversation, messages: Sequence[StoredMessage]) -> str:
    """The newest branch: questions as headings, answers as they are, numbered sources below each."""
    title = conversation.title or UNTITLED
    parts = [f"# {title}", f"*{conversation.created_at:%Y-%m-%d %H:%M} UTC*"]
    for message in newest_branch(messages):
        parts += _question(message) if message.role == "user" else _answer(message)
    return "\n\n".join(parts) + "\n"


def file_name(conversation: Conversation, extension: str) -> str:
    """A file name of ASCII letters, digits and hyphens."""
    words = _NO_NAME.sub("-", conversation.title.lower()).strip("-")[:60].rstrip("-")
    return f"{words or UNTITLED.lower()}.{extension}"


def _question(message: StoredMessage) -> list[str]:
    first, *rest = message.content.strip().splitlines() or [""]
    return [f"## {first}", *(["\n".join(rest).strip()] if rest else [])]


def _answer(message: StoredMessage) -> list[str]:
    parts = [message.content.strip()] if message.content.strip() else []
    if message.status in ENDINGS:
        reason = f" {message.error['message']}" if message.error else ""
        parts.append(f"*{ENDINGS[message.status]}{reason}*")
    if message.sources:
        parts += ["**Sources**", "\n".join(_source(source) for source in message.sources)]
    return parts


def _source(source: dict[str, Any]) -> str:
    page = f", page {source['page']}" if source["page"] is not None else ""
    text = " ".join(source["text"].split())
    return f"- [{source['n']}] {source['title']}{page}: “{text}”"
