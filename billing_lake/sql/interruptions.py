"""Lets Ctrl-C end a query of DuckDB, whenever it comes.

DuckDB looks for Ctrl-C in the main thread, and loses one that comes while it imports a module. Raised as usual, one may come where a
thread has been started and nobody knows of it yet: the query would be waited for as long as it takes.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

_Found = TypeVar("_Found")

_LOOK_SECONDS = 0.1
"""How soon after Ctrl-C what runs is told to end."""


def done_beside(act: Callable[[], _Found], interrupt: Callable[[], None]) -> _Found:
    """Return what ``act`` returns, which is done in a thread of its own.

    Args:
        act: May take long.
        interrupt: Makes it fail soon, if it has begun; called again until it has.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed meanwhile, and ``act`` has ended.
    """
    with _interruptions() as came, ThreadPoolExecutor(1) as pool:
        found = pool.submit(act)
        while wait([found], _LOOK_SECONDS).not_done:
            if came:
                interrupt()
        return found.result()


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Collect the interruptions that come during the block, and hand them on behind it, where nothing is half begun."""
    came: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield came
        return
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)
