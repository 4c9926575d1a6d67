"""Time as the tests have it: conditions with deadlines, and ttls scaled to the backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from prism.ports import Capability, Declaration, FullKeyValue, Profile
from prism.testing.suite.patience import patient

SHORTEST = timedelta(milliseconds=150)
LONG = timedelta(hours=1)
"""A ttl that no test lives to see expire."""

ROUNDING = timedelta(milliseconds=10)
"""Backends keep an expiry in milliseconds, and clocks tick unevenly."""

_POLL_SECONDS = 0.005


async def until(
    condition: Callable[[], Awaitable[bool]],
    what: str,
    within: timedelta = timedelta(seconds=10),
) -> None:
    """Wait for the condition, and fail saying what did not come true."""
    seconds = patient(within.total_seconds())
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Clock:
    """The backend's clock, as far as its declaration of ttl says.

    Attributes:
        short: a ttl that the backend can keep exactly, and that tests can wait for.
    """

    granularity: timedelta
    error: timedelta
    short: timedelta

    @classmethod
    def of(cls, profile: Profile) -> Clock:
        declared = profile.capabilities.get(Capability.TTL, Declaration())
        step = declared.granularity or timedelta(milliseconds=1)
        # Two steps and twice the error at least, so that early and late stay apart.
        wanted = max(SHORTEST, 2 * declared.clock_error)
        return cls(declared.granularity, declared.clock_error, -(-wanted // step) * step)

    def too_early(self, ttl: timedelta) -> float:
        """Seconds after asking for the ttl, within which the key must not be lost."""
        return (ttl - self.error).total_seconds()

    def too_late(self, ttl: timedelta) -> float:
        """Seconds after the answer, beyond which no read may return the key."""
        return (ttl + self.granularity + self.error + ROUNDING).total_seconds()

    async def outlive(self, kv: FullKeyValue, key: str, ttl: timedelta | None = None) -> None:
        """Wait until the key is gone, which it must be soon after its ttl."""
        latest = timedelta(seconds=self.too_late(ttl or self.short)) + timedelta(seconds=5)
        await until(lambda: _absent(kv, key), f"{key!r} expires", latest)


async def _absent(kv: FullKeyValue, key: str) -> bool:
    return await kv.get(key) is None
