"""Watches through the gateway: their limit, and how they end."""

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
async def assembly(build: Callable[..., Any]) -> Any:
    assembly = build()
    await assembly.run()
    return assembly


async def waiting(events: AsyncIterator[Event]) -> asyncio.Task[Event]:
    """Return the task of a reader that waits for an event."""

    async def read() -> Event:
        return await anext(events)

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


async def test_a_watch_is_refused_when_the_driver_does_not_declare_it(assembly: Any) -> None:
    assembly.driver.declared = frozenset(Capability) - {Capability.WATCH}
    with pytest.raises(Unsupported, match="watch"):
        async with assembly.gateway.watch():
            pass


@pytest.mark.parametrize("prefix", ["k" * 1025, "\ud800"])
async def test_a_bad_prefix_is_refused(assembly: Any, prefix: str) -> None:
    with pytest.raises(InvalidArgument):
        async with assembly.gateway.watch(prefix):
            pass


async def test_a_watch_before_the_start_is_refused(build: Callable[..., Any]) -> None:
    with pytest.raises(NotServing):
        async with build().gateway.watch():
            pass


async def test_a_watch_above_the_limit_is_refused_until_another_ends(
    assembly: Any,
) -> None:
    gateway = Gateway(assembly.driver, assembly.admission, Limits(), max_watches=2)
    async with gateway.watch(), AsyncExitStack() as stack:
        await stack.enter_async_context(gateway.watch())
        with pytest.raises(Exhausted, match="limit of 2 open watches") as refusal:
            async with gateway.watch():
                pass
        assert refusal.value.reason == "TOO_MANY_WATCHES"
        await stack.aclose()
        async with gateway.watch():
            pass


async def test_a_watch_does_not_count_as_in_flight(assembly: Any) -> None:
    async with assembly.gateway.watch():
        assert assembly.admission.in_flight == 0


async def test_closing_ends_waiting_and_idle_readers(assembly: Any) -> None:
    async with assembly.gateway.watch() as waits, assembly.gateway.watch() as does_not:
        reader = await waiting(waits)
        assert await assembly.lifecycle.drain() == DrainReport()
        with pytest.raises(NotServing, match="draining"):
            await reader
        assert reader.cancelling() == 0
        await assembly.driver.set("k", b"unread")
        with pytest.raises(NotServing):
            await anext(does_not)
    assert assembly.driver._store.watchers.any is False


async def test_a_cancellation_at_the_same_time_as_closing_is_not_lost(assembly: Any) -> None:
    async with assembly.gateway.watch() as events:
        reader = await waiting(events)
        reader.cancel()
        assembly.admission.close("draining")
        with pytest.raises(asyncio.CancelledError):
            await reader


async def test_a_watch_ends_when_its_reading_is_cancelled(assembly: Any) -> None:
    async with assembly.gateway.watch() as events:
        reader = await waiting(events)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await assembly.gateway.set("k", b"v")
        with pytest.raises(WatchEnded, match="cancelled"):
            await anext(events)


class Odd:
    """Driver whose watch hangs while opening, or ends without an error."""

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


async def test_a_watch_that_the_driver_ends_silently_has_a_reason(assembly: Any) -> None:
    driver = Odd(assembly.driver, hangs=False)
    async with Gateway(driver, assembly.admission, Limits()).watch() as events:
        assert await anext(events) == Event(Change.DELETE, "k")
        for _ in range(2):
            with pytest.raises(WatchEnded):
                await anext(events)
    assert driver.left


async def test_closing_ends_a_watch_that_is_not_open_yet(assembly: Any) -> None:
    driver = Odd(assembly.driver, hangs=True)
    gateway = Gateway(driver, assembly.admission, Limits())

    async def watch() -> None:
        async with gateway.watch():
            pass

    entering = asyncio.create_task(watch())
    await asyncio.sleep(0)
    assembly.admission.close("draining")
    with pytest.raises(NotServing):
        await entering
    assert driver.left


def test_removing_a_callback_twice_has_no_effect() -> None:
    admission = Admission(max_in_flight=1, max_per_connection=1)
    called: list[str] = []

    def callback() -> None:
        called.append("closed")

    admission.on_close(callback)
    admission.close("draining")
    admission.remove_on_close(callback)
    admission.remove_on_close(callback)
    admission.close("stopped")
    assert called == ["closed"]
