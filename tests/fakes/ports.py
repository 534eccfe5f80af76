"""Ports for servers that cannot take a free one by themselves."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel picks ports for connections, so that none of these takes it meanwhile.
KEPT = range(12_000, 32_000)
_CHANCE = random.SystemRandom()


def kept_port() -> int:
    """A port of 127.0.0.1 that is free, and that nobody is given by chance while its server is away."""
    for _ in range(100):
        port = _CHANCE.choice(KEPT)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port of 127.0.0.1 is free")
