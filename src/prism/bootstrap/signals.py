"""SIGINT and SIGTERM: the first asks for an orderly end, a second ends at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handle_signals(ask_to_end: Callable[[str], None]) -> Iterator[None]:
    """Call back in the running event loop, with the signal's name.

    Python's own handlers are used, not the loop's: a second signal must also end
    a process whose loop is stuck in a driver.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        name = signal.Signals(number).name
        if asked:
            _end_at_once(number, name)
        asked = True
        loop.call_soon_threadsafe(ask_to_end, name)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(number: int, name: str) -> None:
    # The first signal may have interrupted a write to the same stream.
    with suppress(Exception):
        log.warning("%s again: ending at once", name)
        logging.shutdown()
    os._exit(128 + number)
