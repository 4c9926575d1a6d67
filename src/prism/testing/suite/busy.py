"""Tests of short ttls on a busy machine: repeated with longer ones."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from prism.ports import PrismError
from prism.testing.suite.timing import Clock, TimeLimitExceeded

_ATTEMPTS = 3
_SLOWER = 4
_PULSE_SECONDS = 0.005
# A test makes several calls within its shortest ttl.
_PART_OF_TTL = 10

Arguments = Mapping[str, Any]


async def repeated_if_busy(test: Callable[[Arguments], Awaitable[None]], given: Arguments) -> None:
    """Run a test; one that depends on short ttls again, if the machine was too busy for them.

    The ttls of a repetition are longer and its keys are new. So a false alarm needs a machine
    that is too busy each time, while a defect fails each time.

    Args:
        test: runs the test with these arguments.
        given: arguments; a test that has a `clock` depends on ttls.
    """
    clock = given.get("clock")
    if not isinstance(clock, Clock):
        await test(given)
        return
    for attempt in range(_ATTEMPTS):
        slow = clock.short.total_seconds() / _PART_OF_TTL
        async with _pulse() as pulse:
            try:
                await test(given)
            except TimeLimitExceeded:
                raise
            except (AssertionError, PrismError, pytest.fail.Exception):
                busy = pulse.longest_delay() > slow or _is_loaded()
                if attempt == _ATTEMPTS - 1 or not busy:
                    raise
            else:
                return
        clock = clock.slower(_SLOWER)
        given = {**given, **_new_keys(given), "clock": clock}


def _is_loaded() -> bool:
    """Return whether more processes are ready to run than there are cores, a server among them."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


def _new_keys(given: Arguments) -> dict[str, str]:
    prefix = f"{uuid.uuid4().hex[:16]}/"
    return {
        name: value
        for name, value in (("prefix", prefix), ("key", f"{prefix}key"))
        if name in given
    }


class _Pulse:
    """Sleeps for a short time again and again, and keeps by how much a sleep was too long."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _PULSE_SECONDS
        self._longest = 0.0

    def longest_delay(self) -> float:
        """Return the longest delay in seconds, with that of the sleep that should have ended."""
        return max(self._longest, time.monotonic() - self._due)

    async def beat(self) -> None:
        while True:
            self._due = time.monotonic() + _PULSE_SECONDS
            await asyncio.sleep(_PULSE_SECONDS)
            self._longest = self.longest_delay()


@asynccontextmanager
async def _pulse() -> AsyncIterator[_Pulse]:
    pulse = _Pulse()
    task = asyncio.create_task(pulse.beat())
    try:
        yield pulse
    finally:
        task.cancel()
