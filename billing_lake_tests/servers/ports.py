"""Ports for servers that must be told one before they start.

Neither a client's connection nor another process of the tests takes such a port between finding it and listening at it.
"""

from __future__ import annotations

import atexit
import random
import socket
from contextlib import ExitStack

_HOST = "127.0.0.1"
# Connections of clients get their ports from 32,768 on, of which a busy machine uses thousands; what lies above a port stays below too.
_FIRST, _LAST = 10_000, 22_767
_CLAIMS = ExitStack()
atexit.register(_CLAIMS.close)


def free_port(*above: int) -> int:
    """Find a port that is free, as those are that lie so many numbers above it."""
    choice = random.SystemRandom()  # neighbours that start together must not try the same ones
    while True:
        port = choice.randrange(_FIRST, _LAST + 1)
        if all(_is_free(port + more) for more in (0, *above)):
            return port


def _is_free(port: int) -> bool:
    # Servers here speak TCP. Who has found a port says so to the other processes by UDP, until its own process ends.
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind((_HOST, port))
        with socket.socket() as attempt:
            attempt.bind((_HOST, port))
    except OSError:
        claim.close()
        return False
    _CLAIMS.enter_context(claim)
    return True
