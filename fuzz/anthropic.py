"""Event streams of Anthropic's Messages API."""

from __future__ import annotations

from fuzz.streams import same_however_cut
from lorestream.providers.anthropic import _AnthropicDecoder

ANSWER = (
    b'\7event: message_start\ndata: {"type":"message_start","message":{"model":"c","usage":{"input_tokens":9}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","content_block":{"type":"text","text":""}}\n\n'
    b'event: ping\ndata: {"type":"ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Par"}}\n\n'
    b'data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm\\ud83e"}}\r\n\r\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
SEEDS = [
    ANSWER,
    b'\3event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    b'\1data: {"type":"content_block_delta","delta":{"type":"signature_delta","signature":"x"}}\n\n',
    b'\2data: {"type":"message_delta","delta":{"stop_reason":"pause_turn"}}\n\ndata: {"type":"message_stop"}\n\n',
]


def one(data: bytes) -> None:
    """Read an answer, whole and in pieces."""
    same_however_cut(data, _AnthropicDecoder, "text/event-stream")
