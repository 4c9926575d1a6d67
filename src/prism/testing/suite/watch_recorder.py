"""Reads a watch in the background and records its events, while the test makes changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import pytest

from prism.ports import Capability, Change, Event, FullKeyValue, PrismError, Profile, Version
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import Group
from prism.testing.suite.timing import TimeLimitExceeded, time_limit

SOON = timedelta(seconds=10)
_EVENTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class DeclaredEvents:
    """How the backend declares that it reports events.

    Attributes:
        values: whether a put event carries value and version.
        expiry_delay: longest time from an expiry to its event; None: expiries need not
            be reported.
    """

    values: bool
    expiry_delay: timedelta | None

    @classmethod
    def of(cls, profile: Profile) -> DeclaredEvents:
        """Return what a backend with this profile declares."""
        declared = profile.capabilities[Capability.WATCH]
        return cls(declared.event_values, declared.event_delay)

    def put(self, key: str, value: bytes, version: Version) -> Event:
        """Return the put event that the backend must report for this write."""
        if self.values:
            return Event(Change.PUT, key, value, version)
        return Event(Change.PUT, key)


class WatchGroup(Group):
    """Fixtures of the watch tests."""

    @pytest.fixture
    def declared(self, backend: Backend) -> DeclaredEvents:
        return DeclaredEvents.of(backend.profile)


class WatchRecorder:
    """Events that one watch has reported.

    Attributes:
        events: events so far, in order.
        times: monotonic time at which each of them arrived, in seconds.
        error: error that ended the watch; None while the watch is open.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.times: list[float] = []
        self.error: PrismError | None = None
        self._changed = asyncio.Event()

    def events_of(self, key: str) -> list[Event]:
        """Return the events of one key."""
        return [event for event in self.events if event.key == key]

    async def expect(self, *expected: Event) -> None:
        """Wait for that many events; fail unless they are exactly these, in this order."""
        await self.wait_for_count(len(expected))
        assert self.events == list(expected)

    async def wait_for_count(self, count: int) -> None:
        """Wait for this many events of any kind."""
        await self.wait_until(lambda events: len(events) >= count, f"{count} events")

    async def wait_until(
        self, condition: Callable[[Sequence[Event]], bool], what: str, within: timedelta = SOON
    ) -> None:
        """Wait until the events satisfy the condition.

        Raises:
            AssertionError: the watch ended, or the time limit passed, before that; the
                message contains `what` and the last events.
        """
        try:
            async with time_limit(within.total_seconds(), what):
                while not condition(self.events):
                    assert self.error is None, f"{what}: ended by {self.error!r}; {self._shown()}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeLimitExceeded as error:
            raise TimeLimitExceeded(f"{error}; {self._shown()}") from None

    async def wait_for_end(self, within: timedelta = SOON) -> PrismError:
        """Wait until an error ends the watch, and return that error."""
        async with time_limit(within.total_seconds(), "the end of the watch"):
            while self.error is None:
                self._changed.clear()
                await self._changed.wait()
        return self.error

    async def read(self, events: AsyncIterator[Event]) -> None:
        """Record events until the watch ends."""
        try:
            async for event in events:
                self.events.append(event)
                self.times.append(time.monotonic())
                self._changed.set()
        except PrismError as error:
            self.error = error
            self._changed.set()

    def _shown(self) -> str:
        return f"{len(self.events)} events received, the last are {self.events[-_EVENTS_SHOWN:]}"


@asynccontextmanager
async def watching(kv: FullKeyValue, prefix: str) -> AsyncIterator[WatchRecorder]:
    """Open a watch and record it in a background task until the context is left.

    The body runs once the watch is open: each change that it makes must be reported.
    """
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    recorder = WatchRecorder()

    async def watch() -> None:
        try:
            async with kv.watch(prefix) as events:
                opened.set_result(None)
                await recorder.read(events)
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    reading = asyncio.create_task(watch())
    try:
        async with time_limit(SOON.total_seconds(), f"the start of a watch of {prefix!r}"):
            await opened
        yield recorder
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
