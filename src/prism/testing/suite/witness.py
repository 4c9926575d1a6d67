"""Someone who reads a watch while the test does other things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import pytest

from prism.ports import Capability, Change, Event, FullKeyValue, PrismError, Profile, Version
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import Group
from prism.testing.suite.patience import bounded, patient

SOON = timedelta(seconds=10)
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Reports:
    """Events as the backend declares that it reports them.

    Attributes:
        values: puts come with value and version.
        delay: of an expiry; None: it need not be reported.
    """

    values: bool
    delay: timedelta | None

    @classmethod
    def of(cls, profile: Profile) -> Reports:
        declared = profile.capabilities[Capability.WATCH]
        return cls(declared.event_values, declared.event_delay)

    def put(self, key: str, value: bytes, version: Version) -> Event:
        if self.values:
            return Event(Change.PUT, key, value, version)
        return Event(Change.PUT, key)


class Witness:
    """What one watch reports.

    Attributes:
        events: so far.
        ended: the error that reading ended with.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended: PrismError | None = None
        self._news = asyncio.Event()

    def of(self, key: str) -> list[Event]:
        """The events of one key."""
        return [event for event in self.events if event.key == key]

    async def sees(self, *expected: Event) -> None:
        """Wait for as many events as are expected, which must be these in this order."""
        await self.has(len(expected))
        assert self.events == list(expected)

    async def has(self, count: int) -> None:
        """Wait for as many events, of any kind."""
        await self.until(lambda events: len(events) >= count, f"{count} events")

    async def until(
        self, enough: Callable[[Sequence[Event]], bool], what: str, within: timedelta = SOON
    ) -> None:
        """Wait for events, and fail saying which did not come."""
        try:
            async with bounded(within.total_seconds()):
                while not enough(self.events):
                    assert self.ended is None, f"{what}: ended by {self.ended!r}; {self._shown()}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(
                f"not within {patient(within.total_seconds()):g} s: {what}; {self._shown()}"
            ) from None

    async def ends(self, within: timedelta = SOON) -> PrismError:
        """Wait until reading ends with an error."""
        async with bounded(within.total_seconds()):
            while self.ended is None:
                self._news.clear()
                await self._news.wait()
        return self.ended

    async def read(self, events: AsyncIterator[Event]) -> None:
        try:
            async for event in events:
                self.events.append(event)
                self._news.set()
        except PrismError as error:
            self.ended = error
            self._news.set()

    def _shown(self) -> str:
        return f"{len(self.events)} events came, at last {self.events[-_SHOWN:]}"


class Watched(Group):
    """What the tests of watches share."""

    @pytest.fixture
    def reports(self, backend: Backend) -> Reports:
        return Reports.of(backend.profile)


@asynccontextmanager
async def watching(kv: FullKeyValue, prefix: str) -> AsyncIterator[Witness]:
    """A watch that stands, read by a task of its own until the context is left."""
    stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    witness = Witness()

    async def watch() -> None:
        try:
            async with kv.watch(prefix) as events:
                stands.set_result(None)
                await witness.read(events)
        except Exception as error:
            if stands.done():
                raise
            stands.set_exception(error)

    reading = asyncio.create_task(watch())
    try:
        await stands
        yield witness
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
