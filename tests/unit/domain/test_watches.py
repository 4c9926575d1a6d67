"""Watches in front of a driver: how many there may be, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.ports import (
    Capability,
    Change,
    DrainReport,
    Event,
    Exhausted,
    InvalidArgument,
    Limits,
    NotServing,
    Unsupported,
    WatchEnded,
)


@pytest.fixture
async def house(build: Callable[..., Any]) -> Any:
    house = build()
    await house.run()
    return house


async def waiting(events: AsyncIterator[Event]) -> asyncio.Task[Event]:
    """A reader who has come as far as to wait."""

    async def read() -> Event:
        return await anext(events)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


async def test_a_driver_that_does_not_declare_it_is_not_watched(house: Any) -> None:
    house.driver.declared = frozenset(Capability) - {Capability.WATCH}
    with pytest.raises(Unsupported, match="watch"):
        async with house.gateway.watch():
            pass


@pytest.mark.parametrize("prefix", ["k" * 1025, "\ud800"])
async def test_a_bad_prefix_is_refused(house: Any, prefix: str) -> None:
    with pytest.raises(InvalidArgument):
        async with house.gateway.watch(prefix):
            pass


async def test_nothing_is_watched_before_the_start(build: Callable[..., Any]) -> None:
    with pytest.raises(NotServing):
        async with build().gateway.watch():
            pass


async def test_a_watch_beyond_the_bound_is_refused_and_one_that_ended_makes_room(
    house: Any,
) -> None:
    gateway = Gateway(house.driver, house.admission, Limits(), max_watches=2)
    async with gateway.watch(), AsyncExitStack() as stack:
        await stack.enter_async_context(gateway.watch())
        with pytest.raises(Exhausted, match="2 watches are open") as refusal:
            async with gateway.watch():
                pass
        assert refusal.value.reason == "TOO_MANY_WATCHES"
        await stack.aclose()
        async with gateway.watch():
            pass


async def test_a_watch_is_not_in_flight(house: Any) -> None:
    async with house.gateway.watch():
        assert house.admission.in_flight == 0


async def test_closing_ends_the_reader_that_waits_and_the_one_that_does_not(house: Any) -> None:
    async with house.gateway.watch() as waits, house.gateway.watch() as does_not:
        reader = await waiting(waits)
        assert await house.lifecycle.drain() == DrainReport()
        with pytest.raises(NotServing, match="draining"):
            await reader
        assert reader.cancelling() == 0
        await house.driver.set("k", b"unread")
        with pytest.raises(NotServing):
            await anext(does_not)
    assert house.driver._store.watchers.any is False


async def test_whoever_cancels_a_reader_at_the_same_time_is_heard(house: Any) -> None:
    async with house.gateway.watch() as events:
        reader = await waiting(events)
        reader.cancel()
        house.admission.close("draining")
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_a_watch_whose_reading_was_cancelled_reports_no_more(house: Any) -> None:
    async with house.gateway.watch() as events:
        reader = await waiting(events)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await house.gateway.set("k", b"v")
        with pytest.raises(WatchEnded, match="cancelled"):
            await anext(events)


class Odd:
    """Its watch hangs before it stands, or ends without a word."""

    def __init__(self, driver: Any, *, hangs: bool) -> None:
        self._driver = driver
        self._hangs = hangs
        self.left = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def one() -> AsyncIterator[Event]:
            yield Event(Change.DELETE, "k")

        try:
            if self._hangs:
                await asyncio.Event().wait()
            yield one()
        finally:
            self.left = True


async def test_a_driver_that_reports_no_more_without_a_reason_is_given_one(house: Any) -> None:
    driver = Odd(house.driver, hangs=False)
    async with Gateway(driver, house.admission, Limits()).watch() as events:
        assert await anext(events) == Event(Change.DELETE, "k")
        for _ in range(2):
            with pytest.raises(WatchEnded):
                await anext(events)
    assert driver.left


async def test_closing_ends_a_watch_that_does_not_stand_yet(house: Any) -> None:
    driver = Odd(house.driver, hangs=True)
    gateway = Gateway(driver, house.admission, Limits())

    async def watch() -> None:
        async with gateway.watch():
            pass

    entering = asyncio.create_task(watch())
    await asyncio.sleep(0)
    house.admission.close("draining")
    with pytest.raises(NotServing):
        await entering
    assert driver.left


def test_forgetting_twice_is_safe() -> None:
    admission = Admission(max_in_flight=1, max_per_connection=1)
    called: list[str] = []

    def told() -> None:
        called.append("told")

    admission.on_close(told)
    admission.close("draining")
    admission.remove_on_close(told)
    admission.remove_on_close(told)
    admission.close("stopped")
    assert called == ["told"]
