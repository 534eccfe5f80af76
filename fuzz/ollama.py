"""Ollama's lines of JSON."""

from __future__ import annotations

from fuzz.streams import same_however_cut
from lorestream.providers.ollama import _OllamaDecoder

ANSWER = (
    b'\7{"message":{"content":"Par"},"done":false}\n{"message":{"content":"is","thinking":"hm"},"done":false}\n'
    b'{"model":"m","message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":2}\n'
)
SEEDS = [
    ANSWER,
    b'\1{"message":{"content":"\\ud83e"},"done":false}\r\n{"message":{"content":"\\udd89"},"done":false}\n',
    b'\1{"message":{"content":"a\xffb"},"done":false}\n',
    b'\3{"error":"model runner has crashed"}\n',
    b'\0{"message":{"role":"tool","tool_calls":[{"function":{"name":"x"}}]},"done":false}\n\n\n',
    b'\5{"message":null,"done":true,"done_reason":"load"}\n[1]\n"x"\nnull\n',
]


def one(data: bytes) -> None:
    """Read an answer, whole and in pieces."""
    same_however_cut(data, lambda: _OllamaDecoder(100), "application/x-ndjson")
