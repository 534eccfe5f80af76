"""The Vercel AI SDK: the chat that ``useChat`` holds, in Node."""

from __future__ import annotations

from tests.doors.client import Driver, Script

DRIVERS: list[Driver] = [Script("Vercel AI SDK useChat /ai-sdk/chat", "ai.mjs", names_model=True)]
