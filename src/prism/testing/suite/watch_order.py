"""Group Watch: every change from the moment on that the watch stands, in order per key."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prism.ports import (
    Capability,
    Change,
    Event,
    FullKeyValue,
    Version,
    WatchEnded,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import group, needs
from prism.testing.suite.pages import pages_under
from prism.testing.suite.timing import time_limit, wait_until
from prism.testing.suite.watch_recorder import DeclaredEvents, WatchGroup, watching

WRITERS = 12
WRITES = 40
LARGE = 64 << 10
MANY = 400
"""Large values that nobody reads: more than any backend keeps for a reader."""


@group(Capability.WATCH)
class WatchOrder(WatchGroup):
    """Nothing is missed, and nothing comes from before."""

    async def test_nothing_from_before_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        for value in (b"1", b"2"):
            await kv.set(key, value)
        await kv.delete(key)
        await kv.set(key, b"before")
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"after")
            await recorder.expect(declared.put(key, b"after", version))

    async def test_what_happens_before_the_first_read_is_reported(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        for turn in range(20):
            key = f"{prefix}{turn}"
            async with time_limit(10), kv.watch(key) as events:
                version = await kv.set(key, b"value")
                await kv.delete(key)
                assert await anext(events) == declared.put(key, b"value", version)
                assert await anext(events) == Event(Change.DELETE, key)

    async def test_each_key_is_reported_in_order_under_load(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        async def write(key: str) -> list[Event]:
            done = []
            for number in range(WRITES):
                value = b"%d" % number
                done.append(declared.put(key, value, await kv.set(key, value)))
                if number % 5 == 4:
                    await kv.delete(key)
                    done.append(Event(Change.DELETE, key))
            return done

        keys = [f"{prefix}{number}" for number in range(WRITERS)]
        async with watching(kv, prefix) as recorder:
            written = await asyncio.gather(*(write(key) for key in keys))
            count = sum(map(len, written))
            await recorder.wait_for_count(count)
            for key, expected in zip(keys, written, strict=True):
                assert recorder.events_of(key) == expected

    async def test_writers_of_one_key_are_all_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async def write(writer: int) -> list[Event]:
            values = [b"%d/%d" % (writer, number) for number in range(WRITES // 4)]
            return [declared.put(key, value, await kv.set(key, value)) for value in values]

        async with watching(kv, key) as recorder:
            written = await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
            end = declared.put(key, b"end", await kv.set(key, b"end"))
            expected = [*(event for events in written for event in events), end]
            await recorder.wait_for_count(len(expected))
            assert sorted(recorder.events) == sorted(expected)
            assert recorder.events[-1] == end
            for events in written:
                mine = set(events)
                assert (
                    declared.values is False or [e for e in recorder.events if e in mine] == events
                )

    async def test_every_watch_of_a_prefix_has_the_same_events(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        async with (
            watching(kv, prefix) as one,
            watching(kv, prefix) as two,
            watching(kv, prefix) as three,
        ):
            expected = []
            for number in range(20):
                key = f"{prefix}{number % 3}"
                value = b"%d" % number
                expected.append(declared.put(key, value, await kv.set(key, value)))
            for recorder in (one, two, three):
                await recorder.wait_for_count(20)
                for key in {event.key for event in expected}:
                    assert recorder.events_of(key) == [
                        event for event in expected if event.key == key
                    ]

    @needs(Capability.SCAN)
    async def test_a_watch_and_then_a_scan_miss_nothing(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        keys = [f"{prefix}{number:02}" for number in range(20)]
        begun, enough = asyncio.Event(), asyncio.Event()

        async def write(mine: list[str], value: int = 0) -> None:
            while not enough.is_set():
                for key in mine:
                    value += 1
                    await (kv.delete(key) if value % 3 == 0 else kv.set(key, b"%d" % value))
                    # An embedded store never waits, and others want their turn.
                    await asyncio.sleep(0)
                begun.set()

        writers = [asyncio.create_task(write(keys[part::4])) for part in range(4)]
        try:
            await begun.wait()
            async with watching(kv, prefix) as recorder:
                scanned = {key async for page in pages_under(kv, prefix) for key in page.keys}
                await recorder.wait_for_count(100)
                enough.set()
                await asyncio.gather(*writers)
                there = {key for key in keys if await kv.exists(key)}

                async def same() -> bool:
                    known = set(scanned)
                    for event in recorder.events:
                        (known.add if event.change is Change.PUT else known.discard)(event.key)
                    return known == there

                await wait_until(same, f"the scan and the events together come to {there}")
        finally:
            enough.set()
            await asyncio.gather(*writers, return_exceptions=True)

    async def test_a_slow_reader_has_everything_or_is_told(
        self, backend: Backend, key: str, declared: DeclaredEvents
    ) -> None:
        kv = backend.kv
        size = min(LARGE, backend.profile.limits.max_value_bytes)
        async with kv.watch(key) as events:
            expected = [await kv.set(key, (b"%d" % number).ljust(size)) for number in range(MANY)]
            seen: list[Version | None] = []
            # To the end, or to a gap that is told: what waits for more waits in vain.
            with suppress(WatchEnded):
                async with time_limit(10):
                    while len(seen) < MANY:
                        seen.append((await anext(events)).version)
            if declared.values:
                assert seen == expected[: len(seen)]
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"again")
            await recorder.expect(declared.put(key, b"again", version))
