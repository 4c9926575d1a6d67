"""Group Watch: how a watch ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from prism.ports import Capability, DrainReport, Event, FullKeyValue, NotServing, PrismError
from prism.testing.suite.backend import OpenBackend
from prism.testing.suite.group import group, needs
from prism.testing.suite.timing import time_limit
from prism.testing.suite.watch_recorder import DeclaredEvents, WatchGroup, watching

DRAIN = timedelta(seconds=20)
REOPENED = 50


@group(Capability.WATCH)
class WatchEndings(WatchGroup):
    """By its reader, by a drain, by a stop: always with a reason, and for good."""

    async def test_a_drain_ends_a_watch_and_does_not_wait_for_it(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend() as backend, watching(backend.kv, key) as recorder:
            await backend.kv.set(key, b"value")
            await recorder.wait_until(bool, "the put is reported")
            async with asyncio.timeout(DRAIN.total_seconds() / 2):
                report = await backend.lifecycle.drain(DRAIN)
                assert report == DrainReport(completed=0, aborted=0)
                assert isinstance(await recorder.wait_for_end(), NotServing)

    async def test_a_stop_ends_a_watch(self, open_backend: OpenBackend, key: str) -> None:
        async with open_backend() as backend, watching(backend.kv, key) as recorder:
            await backend.lifecycle.stop()
            assert isinstance(await recorder.wait_for_end(), NotServing)

    async def test_a_watch_that_has_ended_stays_so(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend() as backend, backend.kv.watch(key) as events:
            await backend.lifecycle.drain(DRAIN)
            async with time_limit(10):
                for _ in range(3):
                    with pytest.raises(PrismError):
                        await anext(events)

    async def test_a_watch_that_was_left_takes_nothing_with_it(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        for _ in range(REOPENED):
            async with kv.watch(key) as events:
                version = await kv.set(key, b"value")
                assert await anext(events) == declared.put(key, b"value", version)
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"last")
            await recorder.expect(declared.put(key, b"last", version))

    async def test_a_watch_ends_with_the_error_of_its_reader(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with kv.watch(key):
                    raise ZeroDivisionError
        assert await kv.exists(key) is False

    async def test_a_cancelled_reader_leaves_the_connection_usable(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async def read() -> list[Event]:
            async with kv.watch(key) as events:
                return [event async for event in events]

        for turn in range(40):
            reading = asyncio.create_task(read())
            try:
                # Before it stands, while it waits, and while it has something to read.
                for _ in range(turn % 8):
                    await asyncio.sleep(0)
                if turn % 2:
                    await kv.set(key, b"%d" % turn)
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
            version = await kv.set(key, b"value")
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (b"value", version)
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"last")
            await recorder.expect(declared.put(key, b"last", version))

    @needs(Capability.SCAN)
    async def test_operations_go_on_beside_many_watches(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        async def watch(number: int) -> None:
            key = f"{prefix}{number}"
            async with watching(kv, key + "/") as recorder:
                for turn in range(5):
                    await kv.set(f"{key}/{turn}", b"value")
                await recorder.wait_for_count(5)
                assert len((await kv.scan(f"{key}/")).keys) == 5

        await asyncio.gather(*(watch(number) for number in range(20)))
