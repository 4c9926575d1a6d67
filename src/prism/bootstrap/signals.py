"""Signals: SIGINT and SIGTERM shut down in order, a second one exits at once; SIGHUP reloads."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handle_signals(shut_down: Callable[[str], None], reload: Callable[[], None]) -> Iterator[None]:
    """Handle the signals in this context: SIGINT and SIGTERM shut down, SIGHUP reloads.

    The handlers are Python's, not the loop's: a second signal must also end a process whose loop
    is stuck in a driver.

    Args:
        shut_down: called in the loop with the name of the first signal. SIGHUP is one, if the
            process has lost its terminal.
        reload: called in the loop.
    """
    loop = asyncio.get_running_loop()
    terminals = [descriptor for descriptor in range(3) if os.isatty(descriptor)]
    received = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        name = signal.Signals(number).name
        if number == signal.SIGHUP and not _hung_up(terminals):
            loop.call_soon_threadsafe(reload)
            return
        if received:
            _exit_at_once(number, name)
        received = True
        loop.call_soon_threadsafe(shut_down, name)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hung_up(terminals: list[int]) -> bool:
    """Return whether a terminal of this process has gone."""
    poll = select.poll()
    for descriptor in terminals:
        poll.register(descriptor, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _exit_at_once(number: int, name: str) -> None:
    # The first signal may have interrupted a write to the same stream.
    with suppress(Exception):
        log.warning("%s again: exiting at once", name)
        logging.shutdown()
    os._exit(128 + number)
