"""Group watch: completeness and order of events, and the end of a watch."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from prism.ports import (
    Capability,
    Change,
    DrainReport,
    Event,
    FullKeyValue,
    NotServing,
    PrismError,
    Put,
    Version,
    WatchEnded,
)
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.group import group, needs
from prism.testing.suite.large_scans import pages_under
from prism.testing.suite.operations import writes_of
from prism.testing.suite.timing import time_limit, wait_until
from prism.testing.suite.watch_recorder import DeclaredEvents, WatchGroup, watching

WRITERS = 12

WRITES = 40

LARGE = 64 << 10

MANY = 400

"""Number of large values: more than any backend buffers for a reader."""

MANY_SMALL = 12_000
"""Number of small values: more than a backend may drop in silence."""

WRITING_SECONDS = 2.0
"""Time after which no more of them are written: a slow backend gets fewer."""

PASSED = 24 << 20
"""Bytes that pass a reader who keeps up: more than any backend buffers."""

SPARE = 5
"""Tasks and descriptors that others in the process may have opened meanwhile."""

DRAIN = timedelta(seconds=20)

REPETITIONS = 50


@group(Capability.WATCH)
class WatchDelivery(WatchGroup):
    """A watch reports every change after it opened, in order for each key."""

    async def test_changes_before_the_watch_are_not_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        for value in (b"1", b"2"):
            await kv.set(key, value)
        await kv.delete(key)
        await kv.set(key, b"before")
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"after")
            await recorder.expect(declared.put(key, b"after", version))

    async def test_changes_before_the_first_read_are_reported(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        for turn in range(20):
            key = f"{prefix}{turn}"
            async with time_limit(10), kv.watch(key) as events:
                version = await kv.set(key, b"value")
                await kv.delete(key)
                assert await anext(events) == declared.put(key, b"value", version)
                assert await anext(events) == Event(Change.DELETE, key)

    async def test_events_of_a_key_keep_their_order_under_load(
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

    async def test_concurrent_writes_of_one_key_are_all_reported(
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

    async def test_all_watches_of_a_prefix_report_the_same_events(
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
    async def test_a_watch_followed_by_a_scan_misses_no_change(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        keys = [f"{prefix}{number:02}" for number in range(20)]
        started, stop = asyncio.Event(), asyncio.Event()

        async def write(mine: list[str], value: int = 0) -> None:
            while not stop.is_set():
                for key in mine:
                    value += 1
                    await (kv.delete(key) if value % 3 == 0 else kv.set(key, b"%d" % value))
                    # An embedded store never waits: let the other tasks run.
                    await asyncio.sleep(0)
                started.set()

        writers = [asyncio.create_task(write(keys[part::4])) for part in range(4)]
        try:
            await started.wait()
            async with watching(kv, prefix) as recorder:
                scanned = {key async for page in pages_under(kv, prefix) for key in page.keys}
                await recorder.wait_for_count(100)
                stop.set()
                await asyncio.gather(*writers)
                there = {key for key in keys if await kv.exists(key)}

                async def same() -> bool:
                    known = set(scanned)
                    for event in recorder.events:
                        (known.add if event.change is Change.PUT else known.discard)(event.key)
                    return known == there

                await wait_until(same, f"the scan and the events together come to {there}")
        finally:
            stop.set()
            await asyncio.gather(*writers, return_exceptions=True)

    async def test_a_slow_reader_gets_every_event_or_an_error(
        self, backend: Backend, key: str, declared: DeclaredEvents
    ) -> None:
        kv = backend.kv
        size = min(LARGE, backend.profile.limits.max_value_bytes)
        async with kv.watch(key) as events:
            expected = [await kv.set(key, (b"%d" % number).ljust(size)) for number in range(MANY)]
            seen: list[Version | None] = []
            # Until every event was read, the watch reports a gap, or no more events come.
            with suppress(WatchEnded):
                async with time_limit(10, "an event, or the end of the watch"):
                    while len(seen) < MANY:
                        seen.append((await anext(events)).version)
            if declared.values:
                assert seen == expected[: len(seen)]
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"again")
            await recorder.expect(declared.put(key, b"again", version))

    @needs(Capability.BATCH)
    async def test_a_reader_far_behind_gets_every_event_or_an_error(
        self, backend: Backend, prefix: str, declared: DeclaredEvents
    ) -> None:
        kv, count = backend.kv, min(1000, backend.profile.limits.max_batch_items)
        names = [f"{prefix}{number}" for number in range(count)]
        written: dict[str, list[object]] = {name: [] for name in names}
        seen: dict[str, list[object]] = {name: [] for name in names}
        async with kv.watch(prefix) as events:
            began = time.monotonic()
            for at in range(MANY_SMALL // count):
                if time.monotonic() - began > WRITING_SECONDS:
                    break
                versions = await kv.set_many([Put(name, b"%d" % at) for name in names])
                for name, version in zip(names, versions, strict=True):
                    written[name].append(version)
            with suppress(WatchEnded):
                async with time_limit(20, "an event, or the end of the watch"):
                    for _ in range(sum(map(len, written.values()))):
                        event = await anext(events)
                        seen[event.key].append(event.version)
        await kv.delete_many(names)
        if declared.values:
            assert seen == {name: written[name][: len(seen[name])] for name in names}

    async def test_a_reader_who_keeps_up_is_never_ended(
        self, backend: Backend, key: str, declared: DeclaredEvents
    ) -> None:
        size = min(PASSED // 40, backend.profile.limits.max_value_bytes)
        value = bytes(size)
        async with (
            backend.kv.watch(key) as events,
            time_limit(50, "the events, or the end of the watch"),
        ):
            for _ in range(PASSED // size):
                version = await backend.kv.set(key, value)
                # Compared as a boolean: pytest would print both values in full.
                assert (await anext(events) == declared.put(key, value, version)) is True

    async def test_a_read_after_an_event_shows_that_change_or_a_later_one(
        self, backend: Backend, key: str
    ) -> None:
        kv, deleting = backend.kv, asyncio.Event()
        writes = [*writes_of(backend.profile).values()]

        async def write() -> None:
            for number in range(REPETITIONS):
                await writes[number % len(writes)](kv, key, b"%d" % number)
                # An embedded store never waits: let the reader run.
                await asyncio.sleep(0)
            deleting.set()
            await kv.delete(key)

        async with kv.watch(key) as events, time_limit(20, "the events, or the end of the watch"):
            writing = asyncio.create_task(write())
            try:
                for number in range(REPETITIONS):
                    assert (await anext(events)).change is Change.PUT
                    entry = await kv.get(key)
                    if entry is None:
                        assert deleting.is_set(), f"nothing is read after the put of {number}"
                    else:
                        assert int(entry.value) >= number
                assert (await anext(events)).change is Change.DELETE
                assert await kv.get(key) is None
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    # The end of a watch: closed by its reader, a drain or a stop

    async def test_closing_a_watch_does_not_end_another_of_the_same_prefix(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            expected = []
            for number in range(3):
                async with watching(kv, key), watching(kv, key[:-1]):
                    pass
                value = b"%d" % number
                expected.append(declared.put(key, value, await kv.set(key, value)))
            await recorder.expect(*expected)

    async def test_closed_watches_leave_no_task_and_no_descriptor(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        async def watch_once(number: int) -> None:
            async with watching(kv, f"{prefix}{number % 3}"):
                await kv.set(f"{prefix}{number % 3}", b"value")

        # The first watch may open what all later ones use.
        await watch_once(0)
        before = _tasks_and_descriptors()

        async def as_before() -> bool:
            pairs = zip(before, _tasks_and_descriptors(), strict=True)
            return all(now <= then + SPARE for then, now in pairs)

        for _ in range(3):
            await asyncio.gather(*(watch_once(number) for number in range(20)))
        await wait_until(as_before, f"about {before} tasks and descriptors are left")

    async def test_a_drain_ends_a_watch_without_waiting(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend() as backend, watching(backend.kv, key) as recorder:
            await backend.kv.set(key, b"value")
            await recorder.wait_until(bool, "the put is reported")
            async with time_limit(DRAIN.total_seconds() / 2, "a drain with a watch open"):
                report = await backend.lifecycle.drain(DRAIN)
                assert report == DrainReport(completed=0, aborted=0)
                assert isinstance(await recorder.wait_for_end(), NotServing)

    async def test_a_stop_ends_a_watch(self, open_backend: OpenBackend, key: str) -> None:
        async with open_backend() as backend, watching(backend.kv, key) as recorder:
            await backend.lifecycle.stop()
            assert isinstance(await recorder.wait_for_end(), NotServing)

    async def test_an_ended_watch_stays_ended(self, open_backend: OpenBackend, key: str) -> None:
        async with open_backend() as backend, backend.kv.watch(key) as events:
            await backend.lifecycle.drain(DRAIN)
            async with time_limit(10.0, "an event of a watch that has ended"):
                for _ in range(3):
                    with pytest.raises(PrismError):
                        await anext(events)

    async def test_closing_a_watch_does_not_affect_later_watches(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        for _ in range(REPETITIONS):
            async with kv.watch(key) as events:
                version = await kv.set(key, b"value")
                assert await anext(events) == declared.put(key, b"value", version)
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"last")
            await recorder.expect(declared.put(key, b"last", version))

    async def test_an_error_of_the_reader_closes_the_watch(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with kv.watch(key):
                    raise ZeroDivisionError
        assert await kv.exists(key) is False

    async def test_a_cancelled_watch_leaves_the_connection_usable(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async def read() -> list[Event]:
            async with kv.watch(key) as events:
                return [event async for event in events]

        for turn in range(40):
            reading = asyncio.create_task(read())
            try:
                # Before the watch is open, while it waits, and while events arrive.
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
    async def test_operations_work_while_many_watches_are_open(
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


def _tasks_and_descriptors() -> tuple[int, int]:
    """Return how many tasks this event loop has, and how many descriptors this process."""
    return len(asyncio.all_tasks()), sum(1 for _ in Path("/dev/fd").iterdir())
