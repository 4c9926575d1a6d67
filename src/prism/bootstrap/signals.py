"""SIGINT, SIGTERM and SIGHUP: the first signal shuts down in order, a second exits at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handle_signals(shut_down: Callable[[str], None]) -> Iterator[None]:
    """Handle the signals in this context: the first calls `shut_down` with its name, in the loop.

    The handlers are Python's, not the loop's: a second signal must also end a process whose loop
    is stuck in a driver.
    """
    loop = asyncio.get_running_loop()
    received = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        name = signal.Signals(number).name
        if received:
            _exit_at_once(number, name)
        received = True
        loop.call_soon_threadsafe(shut_down, name)

    before = {
        number: signal.signal(number, handle)
        for number in _SIGNALS
        # A process started by nohup ignores SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_at_once(number: int, name: str) -> None:
    # The first signal may have interrupted a write to the same stream.
    with suppress(Exception):
        log.warning("%s again: exiting at once", name)
        logging.shutdown()
    os._exit(128 + number)
