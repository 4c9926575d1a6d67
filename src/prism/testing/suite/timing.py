"""How long tests wait: scaled time limits, polled conditions, and the backend's expiry clock."""

from __future__ import annotations

import asyncio
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from prism.ports import Capability, Declaration, FullKeyValue, Profile

SHORTEST = timedelta(milliseconds=150)
LONG = timedelta(hours=1)
"""A ttl that never expires during a test."""

ROUNDING = timedelta(milliseconds=10)
"""Allowance for backends that keep expiry times in whole milliseconds, and for uneven clocks."""

_POLL_SECONDS = 0.005
_LATE_SECONDS = 5.0
_SUITE = Path(__file__).parent

# A context variable, so that helpers deep inside a test need not pass the factor along.
_FACTOR: ContextVar[float] = ContextVar("timeout_factor", default=1.0)


@contextmanager
def timeouts_scaled_by(factor: float) -> Iterator[None]:
    """Multiply every time limit inside the body by the factor."""
    token = _FACTOR.set(factor)
    try:
        yield
    finally:
        _FACTOR.reset(token)


def scaled(seconds: float) -> float:
    """Return the seconds multiplied by the test's `timeout_factor`."""
    return seconds * _FACTOR.get()


class TimeLimitExceeded(AssertionError):
    """An operation did not finish in time; the backend under test may be unusable."""


@asynccontextmanager
async def time_limit(seconds: float, what: str = "the test") -> AsyncIterator[None]:
    """Limit the body to this many seconds, scaled by the test's `timeout_factor`.

    Raises:
        TimeLimitExceeded: the body took longer; the message names the calls that it waited in.
    """
    limit = scaled(seconds)
    try:
        async with asyncio.timeout(limit) as timeout:
            yield
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise TimeLimitExceeded(
            f"{what} did not finish within {limit:g} s. {_waiting_calls(error)}"
        ) from error


def _waiting_calls(error: TimeoutError) -> str:
    """Describe the calls that a timeout interrupted: that of the test, and the innermost."""
    cancelled = error.__cause__ or error.__context__
    frames = traceback.extract_tb(cancelled.__traceback__ if cancelled else None)
    own = [frame for frame in frames if _SUITE in Path(frame.filename).parents]
    lines = [
        f"{role} `{frame.line}` ({frame.filename}:{frame.lineno})"
        for role, found in (("The test waits in", own), ("innermost call:", frames))
        for frame in found[-1:]
    ]
    return "; ".join(lines) or "No call was interrupted."


async def wait_until(
    condition: Callable[[], Awaitable[bool]],
    what: str,
    within: timedelta = timedelta(seconds=10),
) -> None:
    """Poll the condition until it is true.

    Args:
        condition: coroutine function that is called every few milliseconds.
        what: description of the condition, for the failure message.
        within: time limit, scaled by the test's `timeout_factor`.

    Raises:
        TimeLimitExceeded: the condition is still false at the time limit.
    """
    seconds = scaled(within.total_seconds())
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeLimitExceeded(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Clock:
    """When a key may and must expire, given the accuracy that the backend declares.

    Attributes:
        granularity: step to which the backend rounds a ttl up.
        error: declared difference between the backend's clock and the test's.
        short: shortest ttl that the backend keeps exactly and a test can wait for.
    """

    granularity: timedelta
    error: timedelta
    short: timedelta

    @classmethod
    def of(cls, profile: Profile) -> Clock:
        """Return the clock of a backend with this profile."""
        declared = profile.capabilities.get(Capability.TTL, Declaration())
        step = declared.granularity or timedelta(milliseconds=1)
        # At least twice the error, so that "too early" and "too late" do not overlap.
        wanted = max(SHORTEST, 2 * declared.clock_error)
        return cls(declared.granularity, declared.clock_error, -(-wanted // step) * step)

    def slower(self, factor: int) -> Clock:
        """Return the clock with a longer `short`, for a machine that is busy."""
        return replace(self, short=self.short * factor)

    def earliest_expiry(self, ttl: timedelta) -> float:
        """Return the seconds after the request during which the key must still exist."""
        return (ttl - self.error).total_seconds()

    def latest_expiry(self, ttl: timedelta) -> float:
        """Return the seconds after the reply at which the key must no longer be returned."""
        return (ttl + self.granularity + self.error + ROUNDING).total_seconds()

    async def wait_for_expiry(
        self, kv: FullKeyValue, key: str, ttl: timedelta | None = None
    ) -> None:
        """Wait until the key is absent; fail if it outlives its ttl (`short` by default)."""
        # The ttl itself does not scale with the time limits.
        latest = self.latest_expiry(ttl or self.short) / scaled(1.0) + _LATE_SECONDS
        await wait_until(lambda: _is_absent(kv, key), f"{key!r} expires", timedelta(seconds=latest))

    async def outlive(self, kv: FullKeyValue, ttl: timedelta | None = None) -> None:
        """Wait until every key that was written before with this ttl has expired.

        The keys themselves are not read, because a read may be what makes a backend expire
        them: a sentinel key elsewhere, written now with the same ttl, is polled instead.

        Args:
            ttl: ttl of the keys; `short` by default.
        """
        sentinel = f"{uuid.uuid4().hex[:16]}/sentinel"
        await kv.set(sentinel, b"", ttl=ttl or self.short)
        await self.wait_for_expiry(kv, sentinel, ttl)


async def _is_absent(kv: FullKeyValue, key: str) -> bool:
    return await kv.get(key) is None
