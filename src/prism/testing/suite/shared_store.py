"""Group concurrency, continued: several backends on one store promise what one promises.

Each test opens further backends, as several servers in front of one store would be, and divides
the calls among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from itertools import chain
from typing import ClassVar

import pytest
import pytest_asyncio

from prism.ports import (
    Capability,
    Change,
    Entry,
    FullKeyValue,
    Persisted,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.calls import gather_or_cancel
from prism.testing.suite.every_operation import check_shown
from prism.testing.suite.group import UNSUPPORTED, Group, group, needs
from prism.testing.suite.histories import EveryWriteWorkload, RandomWorkload, Recorder, check
from prism.testing.suite.operations import writes_of
from prism.testing.suite.timing import LONG, Clock, wait_until
from prism.testing.suite.transactions_together import Bank
from prism.testing.suite.watch_recorder import DeclaredEvents, watching

FURTHER = {Level.IN_PROCESS: 2, Level.WIRE: 2, Level.PROXY: 1}
"""Backends besides that of the class; a proxy takes a second to start."""

ROUNDS = 20
COUNTING_EACH = 40
CALLERS_EACH = 4


@group()
class SharedStores(Group):
    """A write through one backend is seen through all others.

    Attributes:
        shared_increments: number of increments by each of the callers that count together.
        shared_races: number of rounds of three races each.
        shared_steps: number of calls by each caller in a recorded history.
    """

    shared_increments: ClassVar[int] = 1
    shared_races: ClassVar[int] = 20
    shared_steps: ClassVar[int] = 30

    @pytest_asyncio.fixture(loop_scope="class")
    async def stores(
        self, backend: Backend, open_backend: OpenBackend
    ) -> AsyncIterator[list[FullKeyValue]]:
        """Two or three backends on one store."""
        if not backend.profile.shared:
            pytest.skip(f"{UNSUPPORTED}{backend.profile.driver} does not share its store")
        async with AsyncExitStack() as stack:
            further = [
                await stack.enter_async_context(open_backend())
                for _ in range(FURTHER[backend.level])
            ]
            yield [backend.kv, *(each.kv for each in further)]

    async def test_a_write_through_one_backend_is_read_through_all(
        self, backend: Backend, stores: list[FullKeyValue], prefix: str
    ) -> None:
        profile = backend.profile

        async def check_all(key: str, value: bytes | None, after: str) -> None:
            for kv in stores:
                await check_shown(kv, profile, key, value, after)

        for name, write in writes_of(profile).items():
            key = f"{prefix}{name}"
            for number, writer in enumerate(stores):
                # Read before, so that what a driver remembers is outdated by the write.
                await check_all(key, None, f"nothing, before {name}")
                for value in (b"new %d" % number, b"overwritten %d" % number):
                    version = await write(writer, key, value)
                    await check_all(key, value, f"{name} through another backend")
                    entries = [await kv.get(key) for kv in stores]
                    assert {entry and entry.version for entry in entries} == {version}
                assert await stores[number - 1].delete(key)
            await check_all(key, None, "delete through another backend")

    @needs(Capability.COUNTER)
    async def test_several_backends_lose_no_increment(
        self, stores: list[FullKeyValue], key: str
    ) -> None:
        async def count(kv: FullKeyValue) -> list[int]:
            return [(await kv.increment(key)).value for _ in range(self.shared_increments)]

        counts = await gather_or_cancel(*(count(kv) for kv in stores for _ in range(COUNTING_EACH)))
        total = COUNTING_EACH * len(stores) * self.shared_increments
        assert sorted(chain.from_iterable(counts)) == list(range(1, total + 1))
        for kv in stores:
            entry = await kv.get(key)
            assert entry is not None
            assert entry.value == b"%d" % total

    @needs(Capability.COUNTER, Capability.TTL)
    async def test_an_increment_keeps_a_ttl_from_another_backend(
        self, stores: list[FullKeyValue], key: str
    ) -> None:
        for number in range(ROUNDS):
            counter = f"{key}{number}"
            await stores[0].set(counter, b"0")
            count, found = await asyncio.gather(
                stores[0].increment(counter), stores[1].expire(counter, LONG)
            )
            assert (count.value, found) == (1, True)
            entry = await stores[-1].get(counter)
            assert entry is not None
            assert entry.value == b"1"
            assert entry.expires_at_ms is not None

    @needs(Capability.TTL)
    @pytest.mark.parametrize("change", ["expire", "persist"])
    async def test_a_change_of_the_ttl_undoes_no_write_of_another_backend(
        self, stores: list[FullKeyValue], key: str, change: str
    ) -> None:
        async def change_ttl(kv: FullKeyValue) -> None:
            while not is_done.is_set():
                if change == "expire":
                    assert await kv.expire(key, LONG)
                else:
                    assert await kv.persist(key) is not Persisted.NO_KEY
                await asyncio.sleep(0)

        async def write(kv: FullKeyValue) -> None:
            try:
                for number in range(ROUNDS * 2):
                    value = b"%d" % number
                    await kv.set(key, value, ttl=LONG)
                    await asyncio.sleep(0)
                    entry = await kv.get(key)
                    assert entry is not None
                    assert entry.value == value, "an acknowledged write was overwritten"
            finally:
                is_done.set()

        is_done = asyncio.Event()
        writer, *others = stores
        await writer.set(key, b"first", ttl=LONG)
        await gather_or_cancel(write(writer), *(change_ttl(kv) for kv in others))

    @needs(Capability.COMPARE_AND_SET)
    async def test_one_backend_wins_each_race(self, stores: list[FullKeyValue], key: str) -> None:
        async def wins(race: Awaitable[object]) -> bool:
            try:
                await race
            except VersionConflict:
                return False
            return True

        async def winners(race: Callable[[FullKeyValue, int], Awaitable[object]]) -> int:
            races = (race(kv, number) for number, kv in enumerate(stores * CALLERS_EACH))
            return sum(await gather_or_cancel(*(wins(each) for each in races)))

        for _ in range(self.shared_races):
            assert (
                await winners(
                    lambda kv, number: kv.compare_and_set(key, b"%d" % number, expected=None)
                )
                == 1
            )
            created = await _version(stores[0], key)
            assert (
                await winners(
                    lambda kv, number, version=created: kv.compare_and_set(  # type: ignore[misc]
                        key, b"next %d" % number, expected=version
                    )
                )
                == 1
            )
            changed = await _version(stores[-1], key)
            assert (
                await winners(
                    lambda kv, _, version=changed: kv.compare_and_delete(  # type: ignore[misc]
                        key, expected=version
                    )
                )
                == 1
            )
            assert not await stores[0].exists(key)

    @needs(Capability.COMPARE_AND_SET, Capability.TTL)
    async def test_a_lock_excludes_the_callers_of_every_backend(
        self, stores: list[FullKeyValue], prefix: str
    ) -> None:
        lock, number = f"{prefix}lock", f"{prefix}number"
        await stores[0].set(number, b"0")

        async def work(kv: FullKeyValue, name: bytes) -> None:
            for _ in range(ROUNDS // 4):
                while True:
                    try:
                        held = await kv.compare_and_set(lock, name, expected=None, ttl=LONG)
                    except VersionConflict:
                        await asyncio.sleep(0.001)
                    else:
                        break
                entry = await kv.get(number)
                assert entry is not None
                await asyncio.sleep(0)
                await kv.set(number, b"%d" % (int(entry.value) + 1))
                await kv.compare_and_delete(lock, expected=held)

        workers = [
            work(kv, b"%d %d" % (at, caller)) for at, kv in enumerate(stores) for caller in range(2)
        ]
        await gather_or_cancel(*workers)
        entry = await stores[0].get(number)
        assert entry is not None
        assert int(entry.value) == len(workers) * (ROUNDS // 4)

    @needs(Capability.TRANSACTIONS)
    async def test_transfers_through_several_backends_keep_the_sum(
        self, stores: list[FullKeyValue], prefix: str
    ) -> None:
        await Bank(prefix).run(stores)

    @needs(Capability.BATCH)
    async def test_batches_of_several_backends_leave_what_one_of_them_wrote(
        self, stores: list[FullKeyValue], prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(20)]
        for _ in range(ROUNDS // 4):
            outcomes = await gather_or_cancel(
                *(
                    kv.set_many([Put(key, f"{at} {key}".encode()) for key in keys])
                    for at, kv in enumerate(stores)
                )
            )
            found = [await kv.get_many(keys) for kv in stores]
            for index, key in enumerate(keys):
                written = [
                    (f"{at} {key}".encode(), outcome[index]) for at, outcome in enumerate(outcomes)
                ]
                read = {_value_and_version(entries[index]) for entries in found}
                assert len(read) == 1, "backends differ"
                assert read <= set(written)
        assert await stores[0].delete_many(keys) == [True] * len(keys)
        assert await stores[-1].get_many(keys) == [None] * len(keys)

    @needs(Capability.SCAN)
    async def test_a_scan_returns_the_keys_of_every_backend(
        self, stores: list[FullKeyValue], prefix: str
    ) -> None:
        keys = {f"{prefix}{number}" for number in range(30)}
        for number, key in enumerate(sorted(keys)):
            await stores[number % len(stores)].set(key, b"value")
        for first in range(len(stores)):
            seen: set[str] = set()
            token, turn = "", first
            while token or turn == first:
                # Each page through another backend.
                page = await stores[turn % len(stores)].scan(prefix, page_size=7, page_token=token)
                seen |= set(page.keys)
                token, turn = page.next_token, turn + 1
            assert seen == keys

    @needs(Capability.TTL)
    async def test_a_ttl_counts_in_every_backend(
        self, stores: list[FullKeyValue], prefix: str, clock: Clock
    ) -> None:
        short, kept, late = (f"{prefix}{name}" for name in ("short", "kept", "late"))
        # Long enough for the calls that change it.
        await stores[0].set(kept, b"value", ttl=timedelta(seconds=30))
        assert await stores[1].persist(kept) is Persisted.EXPIRY_REMOVED
        await stores[0].set(late, b"value")
        assert await stores[-1].expire(late, clock.short)
        await stores[0].set(short, b"value", ttl=clock.short)
        for kv in reversed(stores):
            await clock.wait_for_expiry(kv, short)
            await clock.wait_for_expiry(kv, late)
            lifetime = await kv.ttl(kept)
            assert lifetime is not None
            assert lifetime.remaining is None

    async def test_a_history_through_several_backends_is_linearizable(
        self, backend: Backend, stores: list[FullKeyValue], key: str
    ) -> None:
        recorder = Recorder()

        async def work(number: int) -> None:
            name = f"caller {number}"
            caller = recorder.caller(name, stores[number % len(stores)])
            workload = RandomWorkload(name, caller, [key], backend.profile)
            for _ in range(self.shared_steps):
                await workload.step()

        await gather_or_cancel(*(work(number) for number in range(CALLERS_EACH * len(stores))))
        await asyncio.to_thread(check, recorder.histories)

    async def test_a_history_of_every_write_through_several_backends_is_linearizable(
        self, backend: Backend, stores: list[FullKeyValue], prefix: str
    ) -> None:
        recorder = Recorder(conflicts=False)
        keys = [f"{prefix}{number}" for number in range(2)]

        async def work(number: int) -> None:
            caller = recorder.caller(f"caller {number}", stores[number % len(stores)])
            workload = EveryWriteWorkload(number, caller, keys, backend.profile)
            for _ in range(self.shared_steps):
                await workload.step()

        await gather_or_cancel(*(work(number) for number in range(3 * len(stores))))
        await asyncio.to_thread(check, recorder.histories)

    @needs(Capability.WATCH)
    async def test_a_watch_reports_the_writes_of_every_backend(
        self, backend: Backend, stores: list[FullKeyValue], prefix: str
    ) -> None:
        declared = DeclaredEvents.of(backend.profile)
        key = f"{prefix}key"
        async with AsyncExitStack() as stack:
            recorders = [await stack.enter_async_context(watching(kv, prefix)) for kv in stores]
            expected = []
            for number, writer in enumerate(stores * 3):
                version = await writer.set(key, b"%d" % number)
                expected.append(declared.put(key, b"%d" % number, version))
            for recorder in recorders:
                await recorder.wait_for_count(len(expected))
                assert recorder.events_of(key) == expected
            await gather_or_cancel(
                *(kv.set(key, b"%d %d" % (at, n)) for n in range(5) for at, kv in enumerate(stores))
            )
            count = len(expected) + 5 * len(stores)
            for recorder in recorders:
                await recorder.wait_for_count(count)
            first, *others = (recorder.events_of(key) for recorder in recorders)
            assert all(events == first for events in others), "the order differs"

    @needs(Capability.WATCH, Capability.TTL)
    async def test_every_watch_reports_an_expiry_once(
        self, backend: Backend, stores: list[FullKeyValue], prefix: str, clock: Clock
    ) -> None:
        delay = DeclaredEvents.of(backend.profile).expiry_delay
        if delay is None:
            pytest.skip(f"{UNSUPPORTED}{backend.profile.driver} states no bound on expire events")
        keys = [f"{prefix}{number}" for number in range(5 * len(stores))]
        await stores[0].set(keys[0], b"before the watches", ttl=4 * clock.short)
        async with AsyncExitStack() as stack:
            recorders = [await stack.enter_async_context(watching(kv, prefix)) for kv in stores]
            for number, key in enumerate(keys[1:]):
                await stores[number % len(stores)].set(key, b"value", ttl=clock.short)
            await clock.wait_for_expiry(stores[0], keys[-1])
            await clock.wait_for_expiry(stores[0], keys[0])
            await stores[0].set(f"{prefix}sentinel", b"", ttl=clock.short)

            async def have_expired(key: str) -> bool:
                return all(
                    any(each.change is Change.EXPIRE for each in recorder.events_of(key))
                    for recorder in recorders
                )

            for key in (*keys, f"{prefix}sentinel"):
                await wait_until(
                    lambda key=key: have_expired(key),  # type: ignore[misc]
                    f"every watch reports that {key!r} expired",
                    delay + timedelta(seconds=10),
                )
            for recorder in recorders:
                for key in keys[1:]:
                    changes = [event.change for event in recorder.events_of(key)]
                    assert changes == [Change.PUT, Change.EXPIRE], key


async def _version(kv: FullKeyValue, key: str) -> Version:
    entry = await kv.get(key)
    assert entry is not None, "nobody won"
    return entry.version


def _value_and_version(outcome: Entry | PrismError | None) -> tuple[bytes, Version]:
    assert isinstance(outcome, Entry), outcome
    return outcome.value, outcome.version
