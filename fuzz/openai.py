"""Event streams of chat completions, and whole ones."""

from __future__ import annotations

from fuzz.streams import same_however_cut
from lorestream.providers.openai import _OpenAIDecoder

ANSWER = (
    b'\7: hello\ndata: {"choices":[{"index":0,"delta":{"content":"Par"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"is"},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\ndata: [DONE]\n\n'
)
SEEDS = [
    ANSWER,
    b'\1\xef\xbb\xbfdata:{"choices":[{"delta":{"reasoning_content":"hm","content":"\\ud83e"}}]}\r\n\r\n',
    b'\2event: x\nid: 1\nretry: 5\ndata: {"choices":\ndata: [{"delta":{"content":"two lines"}}]}\n\n',
    b'\3data: {"error":{"message":"overloaded","code":503}}\n\n',
    b'\x80{"choices":[{"index":0,"message":{"content":"whole"},"finish_reason":"length"}]}',
    b'\x80{"choices":[{"index":0,"message":{"content":"a\xffb"}}]}',
    b"\4data: [DONE]\n\ndata\n\ndata: \n\n:\n\n\n",
]


def one(data: bytes) -> None:
    """Read an answer, whole and in pieces."""
    kind = "application/json" if data[:1] >= b"\x80" else "text/event-stream"
    same_however_cut(data, _OpenAIDecoder, kind)
