"""Group concurrency: eight categories with a backend that works; more in other modules.

`failures` has two more, `shared_store` those of several backends on one store.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from prism.ports import Capability, Exhausted, FullKeyValue, Outcome, Version, VersionConflict
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.calls import gather_bounded, gather_or_cancel
from prism.testing.suite.failures import Degradation, Outages
from prism.testing.suite.group import NOT_REACHABLE, Group, group, needs
from prism.testing.suite.histories import RandomWorkload, Recorder, check
from prism.testing.suite.shared_store import SharedStores
from prism.testing.suite.timing import LONG, Clock, time_limit
from prism.testing.suite.wrapper import OperationBlocker

WRITERS = 20
TURNS = 20
MANY_READERS = 300
READERS = 8
WRITES = 100
SLOW_OPERATIONS = 50
EXTRA_OPERATIONS = 20
CALLERS = 16
ROUNDS = 20
STRESS_KEYS = 6
EXPIRING_KEYS = 40
PIPELINE_ITEMS = 300
PIPELINE_WORKERS = 5

_SOON_SECONDS = 10.0
# Pause of each caller: the backend stays busy, and the history short enough to check.
_STRESS_PAUSE_SECONDS = 0.002
_READ_PAUSE_SECONDS = 0.005
_END_OF_PIPELINE = -1


@group()
class ConcurrentWrites(Group):
    """Category 1: one fast writer, many writers of different keys, of one key, a worker pool."""

    async def test_one_writer_at_full_speed_loses_no_write(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(WRITERS * TURNS)]
        await gather_bounded(kv.set(key, key.encode()) for key in keys)
        entries = await gather_bounded(kv.get(key) for key in keys)
        assert [entry and entry.value for entry in entries] == [key.encode() for key in keys]

    async def test_writers_of_different_keys_do_not_interfere(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        async def write(key: str) -> None:
            for turn in range(TURNS):
                value = b"%s %d" % (key.encode(), turn)
                await kv.set(key, value)
                entry = await kv.get(key)
                assert entry is not None
                assert entry.value == value

        await gather_or_cancel(*(write(f"{prefix}{number}") for number in range(WRITERS)))

    async def test_many_writers_of_one_key_leave_the_value_of_one(
        self, kv: FullKeyValue, key: str
    ) -> None:
        values = [b"%d" % number * 50 for number in range(WRITERS)]
        for _ in range(TURNS):
            versions = await gather_or_cancel(*(kv.set(key, value) for value in values))
            entry = await kv.get(key)
            assert entry is not None
            # A complete value, with the version of the same write.
            assert (entry.value, entry.version) in list(zip(values, versions, strict=True))

    async def test_a_worker_pool_finishes_every_job_once(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue()
        for number in range(WRITERS * TURNS):
            jobs.put_nowait(number)

        async def work() -> int:
            done = 0
            while not jobs.empty():
                number = jobs.get_nowait()
                assert await kv.exists(f"{prefix}{number}") is False
                await kv.set(f"{prefix}{number}", b"%d" % number)
                done += 1
            return done

        done = await gather_or_cancel(*(work() for _ in range(WRITERS)))
        assert sum(done) == WRITERS * TURNS
        entries = await gather_bounded(kv.get(f"{prefix}{number}") for number in range(sum(done)))
        assert [entry and int(entry.value) for entry in entries] == list(range(sum(done)))


@group()
class ConcurrentReads(Group):
    """Category 2: each of many readers receives the reply to its own request."""

    async def test_many_readers_of_one_key_see_the_same(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"value")
        entries = await gather_bounded(kv.get(key) for _ in range(MANY_READERS))
        assert {(entry.value, entry.version) for entry in entries if entry} == {(b"value", version)}
        assert None not in entries

    async def test_concurrent_reads_of_many_keys_are_not_mixed_up(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        # Different sizes, so that replies overtake one another where they can.
        sizes = [0, 1, 100, 10_000, 100_000]
        stored = {
            f"{prefix}{number}": random.Random(number).randbytes(sizes[number % len(sizes)])
            for number in range(25)
        }
        await gather_bounded(kv.set(key, value) for key, value in stored.items())
        asked = random.Random(prefix).choices([*stored, f"{prefix}absent"], k=MANY_READERS)
        entries = await gather_bounded(kv.get(key) for key in asked)
        wrong = [
            key
            for key, entry in zip(asked, entries, strict=True)
            if (entry.value if entry else None) != stored.get(key)
        ]
        assert wrong == []

    async def test_concurrent_get_and_exists_agree(self, kv: FullKeyValue, prefix: str) -> None:
        keys = [f"{prefix}{number}" for number in range(50)]
        await gather_bounded(kv.set(key, b"value") for key in keys[::2])

        async def both(key: str) -> tuple[bool, bool]:
            return await kv.exists(key), await kv.get(key) is not None

        seen = await gather_bounded(both(key) for key in keys)
        assert seen == [(True, True), (False, False)] * 25


@group()
class ReadWriteRace(Group):
    """Category 3: readers see complete values, and never an older one than before."""

    async def test_readers_see_only_values_that_were_written(
        self, kv: FullKeyValue, key: str
    ) -> None:
        # Different lengths, so that a mixture of two values would show.
        values = [bytes([number]) * (1 + number * 97) for number in range(20)]
        await kv.set(key, values[0])
        done = asyncio.Event()

        async def read() -> None:
            while not done.is_set():
                entry = await kv.get(key)
                assert entry is not None
                assert entry.value in values
                await asyncio.sleep(0)

        async def write() -> None:
            for turn in range(WRITES):
                await kv.set(key, values[turn % len(values)])
                await asyncio.sleep(0)
            done.set()

        await gather_or_cancel(write(), *(read() for _ in range(READERS)))

    async def test_readers_never_go_back_in_time(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"0")
        written = 0

        async def read() -> None:
            latest = 0
            while latest < WRITES:
                acknowledged = written
                entry = await kv.get(key)
                assert entry is not None
                number = int(entry.value)
                assert number >= latest, "a reader saw an earlier value than before"
                assert number >= acknowledged, "an acknowledged write was not seen"
                latest = number
                await asyncio.sleep(0)

        async def write() -> None:
            nonlocal written
            for turn in range(1, WRITES + 1):
                await kv.set(key, b"%d" % turn)
                written = turn
                await asyncio.sleep(0)

        await gather_or_cancel(write(), *(read() for _ in range(READERS)))


@group()
class Bulkhead(Group):
    """Category 4: slow callers delay no others, and operations in flight are limited."""

    async def test_slow_operations_do_not_delay_others(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _waiting(backend.kv, blocker, prefix, SLOW_OPERATIONS) as slow,
        ):
            await blocker.wait_for(SLOW_OPERATIONS)
            async with time_limit(_SOON_SECONDS, "calls of other callers"):
                for number in range(SLOW_OPERATIONS):
                    assert await backend.kv.exists(f"{prefix}other {number}") is False
            assert not any(each.done() for each in slow)

    async def test_operations_over_the_in_flight_limit_are_refused(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with open_backend(wrap=blocker.wrap) as backend:
            bound = backend.max_in_flight
            async with _waiting(backend.kv, blocker, prefix, bound) as admitted:
                await blocker.wait_for(bound)
                for number in range(EXTRA_OPERATIONS):
                    with pytest.raises(Exhausted) as refusal:
                        await backend.kv.set(f"{prefix}beyond {number}", b"value")
                    assert refusal.value.outcome is Outcome.NOT_APPLIED
                assert blocker.blocked == bound
                blocker.release()
                await asyncio.gather(*admitted)
            # A refused caller may try again.
            assert await backend.kv.exists(f"{prefix}beyond 0") is False
            await backend.kv.set(f"{prefix}beyond 0", b"value")

    async def test_a_saturated_connection_does_not_starve_another(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with open_backend(wrap=blocker.wrap) as backend:
            if backend.connect is None:
                pytest.skip(f"{NOT_REACHABLE}there are no connections")
            async with (
                backend.connect() as other,
                _waiting(backend.kv, blocker, prefix, backend.max_in_flight),
            ):
                await blocker.wait_for(backend.max_in_flight)
                with pytest.raises(Exhausted):
                    await backend.kv.exists(f"{prefix}any")
                async with time_limit(_SOON_SECONDS, "calls of other callers"):
                    for number in range(EXTRA_OPERATIONS):
                        assert await other.exists(f"{prefix}other {number}") is False


@asynccontextmanager
async def _waiting(
    kv: FullKeyValue, blocker: OperationBlocker, prefix: str, count: int
) -> AsyncIterator[list[asyncio.Task[Version]]]:
    """Start writes of different keys that wait until the blocker releases them."""
    blocker.block()
    writes = [asyncio.create_task(kv.set(f"{prefix}{number}", b"v")) for number in range(count)]
    try:
        yield writes
    finally:
        blocker.release()
        await asyncio.gather(*writes, return_exceptions=True)


@group()
class Atomicity(Group):
    """Category 5: each operation takes effect at one moment, the same for every caller."""

    async def test_one_of_many_concurrent_deletes_finds_the_key(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for _ in range(ROUNDS):
            await kv.set(key, b"value")
            existed = await gather_or_cancel(*(kv.delete(key) for _ in range(CALLERS)))
            assert existed.count(True) == 1
            assert await kv.exists(key) is False

    async def test_a_deleted_key_never_reappears_to_readers(
        self, kv: FullKeyValue, key: str
    ) -> None:
        async def watch() -> None:
            gone = False
            while not gone or not deleted.is_set():
                gone_before = gone
                gone = not await kv.exists(key) or await kv.get(key) is None
                assert gone or not gone_before, "a deleted key came back"
                await asyncio.sleep(0)

        async def delete() -> None:
            assert await kv.delete(key) is True
            deleted.set()

        for _ in range(ROUNDS):
            deleted = asyncio.Event()
            await kv.set(key, b"value")
            await gather_or_cancel(*(watch() for _ in range(3)), delete())

    @needs(Capability.COMPARE_AND_SET)
    async def test_each_round_of_a_race_has_one_winner(self, kv: FullKeyValue, key: str) -> None:
        wins: list[int] = []

        async def race(caller: int) -> None:
            for turn in range(ROUNDS):
                entry = await kv.get(key)
                assert entry is not None
                try:
                    await kv.compare_and_set(
                        key, b"%d by %d" % (turn, caller), expected=entry.version
                    )
                except VersionConflict:
                    continue
                wins.append(caller)
                chain.append(entry.value)

        chain: list[bytes] = []
        await kv.set(key, b"start")
        await gather_or_cancel(*(race(caller) for caller in range(CALLERS)))
        # No caller won against a value that had already been replaced.
        assert len(set(chain)) == len(chain) == len(wins)
        assert wins

    @needs(Capability.COUNTER)
    async def test_concurrent_increments_and_reads_only_count_up(
        self, kv: FullKeyValue, key: str
    ) -> None:
        async def count() -> None:
            latest = 0
            for _ in range(ROUNDS):
                number = (await kv.increment(key)).value
                assert number > latest
                entry = await kv.get(key)
                assert entry is not None
                latest = int(entry.value)
                assert latest >= number

        await gather_or_cancel(*(count() for _ in range(CALLERS)))
        assert (await kv.increment(key, 0)).value == CALLERS * ROUNDS


@group()
class Stress(Group):
    """Category 6: a mixed workload for some seconds.

    Attributes:
        stress_seconds: duration by level.
    """

    stress_seconds: ClassVar[dict[Level, float]] = {
        Level.IN_PROCESS: 5.0,
        Level.WIRE: 1.0,
        Level.PROXY: 1.0,
    }

    async def test_a_mixed_workload_under_stress_is_linearizable(
        self, backend: Backend, prefix: str
    ) -> None:
        recorder = Recorder()
        keys = [f"{prefix}{number}" for number in range(STRESS_KEYS)]
        end = time.monotonic() + self.stress_seconds[backend.level]

        async def work(name: str) -> None:
            caller = recorder.caller(name, backend.kv)
            workload = RandomWorkload(name, caller, keys, backend.profile)
            while time.monotonic() < end:
                await workload.step()
                await asyncio.sleep(_STRESS_PAUSE_SECONDS)

        await gather_or_cancel(*(work(f"caller {number}") for number in range(CALLERS)))
        assert recorder.size > CALLERS
        await asyncio.to_thread(check, recorder.histories)


@group(Capability.TTL)
class ExpiryUnderLoad(Group):
    """Category 7: expiry is exact with many keys and callers."""

    async def test_keys_written_at_once_keep_their_own_ttls(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        ttls = {
            f"{prefix}{number}": (clock.short, LONG, None)[number % 3]
            for number in range(EXPIRING_KEYS)
        }
        await gather_bounded(kv.set(key, b"value", ttl=ttl) for key, ttl in ttls.items())
        await gather_or_cancel(
            *(clock.wait_for_expiry(kv, key) for key, ttl in ttls.items() if ttl == clock.short)
        )
        left = await gather_bounded(kv.exists(key) for key in ttls)
        assert left == [ttl != clock.short for ttl in ttls.values()]

    async def test_concurrent_reads_see_each_key_expire_on_time(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        async def live(key: str) -> None:
            asked = time.monotonic()
            await kv.set(key, key.encode(), ttl=clock.short)
            granted = time.monotonic()
            while True:
                begun = time.monotonic()
                entry = await kv.get(key)
                if entry is None:
                    early = asked + clock.earliest_expiry(clock.short) - time.monotonic()
                    assert early <= 0, f"the key was lost {early:.3f} s before its expiry"
                    return
                assert entry.value == key.encode()
                late = begun - granted - clock.latest_expiry(clock.short)
                assert late <= 0, f"the key was returned {late:.3f} s after its expiry"
                await asyncio.sleep(_READ_PAUSE_SECONDS)

        await gather_or_cancel(*(live(f"{prefix}{number}") for number in range(EXPIRING_KEYS)))

    async def test_a_key_renewed_under_load_never_expires(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"0", ttl=clock.short)
        end = time.monotonic() + 2 * clock.short.total_seconds()

        async def renew() -> None:
            while time.monotonic() < end:
                await kv.set(key, b"1", ttl=LONG)
                await asyncio.sleep(0)

        async def read() -> None:
            while time.monotonic() < end:
                assert await kv.exists(key) is True
                await asyncio.sleep(_READ_PAUSE_SECONDS)

        await kv.set(key, b"1", ttl=LONG)
        await gather_or_cancel(renew(), *(read() for _ in range(4)))


@group()
class Pipeline(Group):
    """Category 8: the stages of a pipeline share data through the backend."""

    async def test_a_pipeline_loses_nothing_between_its_stages(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        generated: asyncio.Queue[int] = asyncio.Queue(maxsize=20)
        written: asyncio.Queue[int] = asyncio.Queue(maxsize=20)
        verified: list[int] = []

        async def generate() -> None:
            for number in range(PIPELINE_ITEMS):
                await generated.put(number)
            for _ in range(PIPELINE_WORKERS):
                await generated.put(_END_OF_PIPELINE)

        async def write() -> None:
            while (number := await generated.get()) != _END_OF_PIPELINE:
                await kv.set(f"{prefix}{number}", b"%d" % number)
                await written.put(number)
            await written.put(_END_OF_PIPELINE)

        async def verify() -> None:
            while (number := await written.get()) != _END_OF_PIPELINE:
                entry = await kv.get(f"{prefix}{number}")
                assert entry is not None
                assert entry.value == b"%d" % number
                assert await kv.delete(f"{prefix}{number}") is True
                verified.append(number)

        workers = [stage() for stage in (write, verify) for _ in range(PIPELINE_WORKERS)]
        await gather_or_cancel(generate(), *workers)
        assert sorted(verified) == list(range(PIPELINE_ITEMS))


class Concurrency(
    ConcurrentWrites,
    ConcurrentReads,
    ReadWriteRace,
    Bulkhead,
    Atomicity,
    Stress,
    ExpiryUnderLoad,
    Pipeline,
    Degradation,
    Outages,
    SharedStores,
):
    """Many concurrent callers, of a backend that works and of one that fails."""
