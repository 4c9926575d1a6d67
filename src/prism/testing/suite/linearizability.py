"""Group linearizability: one order of concurrent calls on a key explains all their results.

Histories of random operations, and every kind of write beside every other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress

import pytest

from prism.ports import (
    Capability,
    Entry,
    FullKeyValue,
    Lifetime,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import Backend, Level
from prism.testing.suite.calls import gather_or_cancel
from prism.testing.suite.group import NOT_REACHABLE, UNSUPPORTED, Group, group, needs
from prism.testing.suite.histories import EveryWriteWorkload, RandomWorkload, Recorder, check
from prism.testing.suite.operations import SAMPLES, SampleOperation, reads_of
from prism.testing.suite.timing import LONG, time_limit
from prism.testing.suite.transactions_together import keys_together

RANDOM_CALLERS = 12
RANDOM_STEPS = 50
CALLERS = 10
STEPS = 40
TURNS = 40
BESIDE = 4
LARGE_TURNS = 4
LARGE_SIZES = (64 << 10, (64 << 10) + 1, 300_001, 1 << 20)

_PROGRESS_SECONDS = 20.0
_FEWER_CALLS = 100
_LARGE_CALLS = 60
_KEYS_OF_A_LARGE_CALL = 40

TTL_CHANGES = pytest.mark.parametrize(
    "change",
    [each for each in SAMPLES if each.spec.capability == Capability.TTL and each.spec.writes],
    ids=str,
)

PROGRESS = {
    **{sample.name: [sample] for sample in SAMPLES if sample.spec.capability != Capability.WATCH},
    "all": [sample for sample in SAMPLES if sample.spec.capability != Capability.WATCH],
}


@group()
class Linearizability(Group):
    """One order of the calls on each key explains the results of all callers."""

    async def test_a_history_on_one_key_is_linearizable(self, backend: Backend, key: str) -> None:
        recorder = Recorder()
        await _work(recorder, [backend.kv], [key], backend)
        check(recorder.histories)

    async def test_a_history_on_several_keys_is_linearizable(
        self, backend: Backend, prefix: str
    ) -> None:
        recorder = Recorder()
        await _work(recorder, [backend.kv], [f"{prefix}{number}" for number in range(4)], backend)
        check(recorder.histories)

    async def test_a_history_through_several_clients_is_linearizable(
        self, backend: Backend, key: str
    ) -> None:
        if backend.connect is None:
            pytest.skip(f"{NOT_REACHABLE}there are no connections")
        recorder = Recorder()
        async with backend.connect() as one, backend.connect() as other:
            await _work(recorder, [backend.kv, one, other], [key], backend)
        check(recorder.histories)

    @needs(Capability.COUNTER)
    async def test_a_history_of_increments_is_linearizable(
        self, backend: Backend, key: str
    ) -> None:
        recorder = Recorder()

        async def count(name: str) -> None:
            caller, chance = recorder.caller(name, backend.kv), random.Random(name)
            for _ in range(RANDOM_STEPS // 2):
                if chance.random() < 0.6:
                    await caller.increment(key, chance.choice([1, 2, -1]))
                else:
                    await caller.get(key)

        await gather_or_cancel(*(count(f"caller {number}") for number in range(RANDOM_CALLERS)))
        check(recorder.histories)

    async def test_a_history_with_cancelled_calls_is_linearizable(
        self, backend: Backend, key: str
    ) -> None:
        recorder = Recorder()

        async def work(name: str) -> None:
            chance = random.Random(name)
            workload = RandomWorkload(
                name, recorder.caller(name, backend.kv), [key], backend.profile
            )
            for _ in range(RANDOM_STEPS):
                step = asyncio.create_task(workload.step())
                if chance.random() < 0.1:
                    for _ in range(chance.randrange(6)):
                        await asyncio.sleep(0)
                    step.cancel()
                await asyncio.wait([step])
                if not step.cancelled():
                    step.result()

        await gather_or_cancel(*(work(f"caller {number}") for number in range(RANDOM_CALLERS)))
        check(recorder.histories)

    @pytest.mark.parametrize("keys", [1, 3])
    async def test_a_history_of_every_write_is_linearizable(
        self, backend: Backend, prefix: str, keys: int
    ) -> None:
        recorder = Recorder(conflicts=False)
        names = [f"{prefix}{number}" for number in range(keys)]

        async def work(number: int) -> None:
            caller = recorder.caller(f"caller {number}", backend.kv)
            workload = EveryWriteWorkload(number, caller, names, backend.profile)
            for _ in range(STEPS):
                await workload.step()
                await asyncio.sleep(0)

        await gather_or_cancel(*(work(number) for number in range(CALLERS)))
        await asyncio.to_thread(check, recorder.histories)

    @needs(Capability.TTL)
    @TTL_CHANGES
    async def test_no_write_is_lost_beside_a_change_of_the_ttl(
        self, kv: FullKeyValue, key: str, change: SampleOperation
    ) -> None:
        async def write() -> None:
            for turn in range(TURNS):
                await kv.set(key, b"%d" % turn)
                await asyncio.sleep(0)
                entry = await kv.get(key)
                assert entry is not None, "the key is lost"
                assert entry.value == b"%d" % turn, "an acknowledged write was overwritten"
                assert await kv.delete(key) is True
                assert await kv.exists(key) is False, "a deleted key came back"

        await _beside(write(), lambda: change.call(kv, key))

    @needs(Capability.TTL, Capability.COUNTER)
    @TTL_CHANGES
    async def test_no_increment_is_lost_beside_a_change_of_the_ttl(
        self, kv: FullKeyValue, key: str, change: SampleOperation
    ) -> None:
        async def count() -> None:
            for turn in range(1, TURNS + 1):
                assert (await kv.increment(key)).value == turn, "an increment was lost"
                await asyncio.sleep(0)

        await _beside(count(), lambda: change.call(kv, key))

    @needs(Capability.TTL, Capability.COUNTER)
    async def test_no_change_of_the_ttl_is_lost_beside_increments(
        self, kv: FullKeyValue, key: str
    ) -> None:
        async def change() -> None:
            for _ in range(TURNS):
                assert await kv.expire(key, LONG) is True
                await asyncio.sleep(0)
                lifetime = await kv.ttl(key)
                assert lifetime is not None
                assert lifetime.remaining is not None, "an acknowledged ttl was lost"
                await kv.persist(key)
                await asyncio.sleep(0)
                assert await kv.ttl(key) == Lifetime(None), "a ttl that was removed came back"

        await kv.set(key, b"0")
        await _beside(change(), lambda: kv.increment(key))

    async def test_value_and_version_belong_together_in_every_read(
        self, backend: Backend, key: str
    ) -> None:
        kv, declared = backend.kv, backend.profile.capabilities
        written: dict[Version, bytes] = {}
        seen: list[tuple[str, Entry]] = []
        writing = CALLERS // 2

        def answered(version: Version, value: bytes) -> None:
            assert written.setdefault(version, value) == value, (
                f"two writes were answered with the version {version}: "
                f"{written[version]!r} and {value!r}"
            )

        async def write(caller: int) -> None:
            nonlocal writing
            for turn in range(TURNS):
                value = b"%d" % ((caller + 1) * 1_000_000 + turn * 1_000)
                kind = (caller + turn) % 4
                if kind == 1 and Capability.BATCH in declared:
                    (outcome,) = await kv.set_many([Put(key, value)])
                    assert not isinstance(outcome, PrismError)
                    answered(outcome, value)
                elif kind == 2 and Capability.COUNTER in declared:
                    count = await kv.increment(key)
                    answered(count.version, b"%d" % count.value)
                elif kind == 3 and Capability.COMPARE_AND_SET in declared:
                    await kv.delete(key)
                    with suppress(VersionConflict):
                        answered(await kv.compare_and_set(key, value, expected=None), value)
                else:
                    answered(await kv.set(key, value), value)
                await asyncio.sleep(0)
            writing -= 1

        async def read(name: str) -> None:
            while writing:
                entry = await reads[name](kv, key)
                if entry is not None:
                    seen.append((name, entry))
                await asyncio.sleep(0)

        reads = reads_of(backend.profile)
        await gather_or_cancel(
            *(write(caller) for caller in range(writing)), *(read(name) for name in reads)
        )
        for name, entry in seen:
            assert written.get(entry.version) == entry.value, (
                f"{name} answered the value {entry.value!r} with the version of "
                f"{written.get(entry.version)!r}"
            )

    async def test_a_large_value_is_never_torn(self, backend: Backend, key: str) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_value_bytes
        values = [
            bytes([number]) * min(size, limit)
            for number, size in enumerate(LARGE_SIZES, start=ord("a"))
        ]
        writing = len(values)

        async def write(value: bytes) -> None:
            nonlocal writing
            for _ in range(LARGE_TURNS):
                await kv.set(key, value)
                await asyncio.sleep(0)
            writing -= 1

        async def read() -> None:
            while writing:
                entry = await kv.get(key)
                assert entry is not None
                # Not `in values`, whose failure would print megabytes.
                whole = any(entry.value == value for value in values)
                assert whole, f"a mixture of {len(entry.value)} bytes was read"
                await asyncio.sleep(0)

        await kv.set(key, values[0])
        try:
            await gather_or_cancel(*map(write, values), read(), read())
        finally:
            await kv.delete(key)

    @pytest.mark.parametrize("samples", PROGRESS.values(), ids=PROGRESS.keys())
    async def test_as_many_calls_as_are_admitted_all_finish(
        self, backend: Backend, key: str, samples: list[SampleOperation]
    ) -> None:
        if len(samples) == 1:
            samples[0].skip_unless_declared_by(backend.profile)
        declared = [each for each in samples if each.is_declared_by(backend.profile)]
        count = backend.max_in_flight
        if len(samples) == 1 and (
            # A scan may look at the whole store. Beyond the driver, the kinds share one way.
            backend.level is not Level.IN_PROCESS or samples[0].spec.capability == Capability.SCAN
        ):
            count = min(count, _FEWER_CALLS)
        await backend.kv.set(key, b"1")
        calls = [declared[number % len(declared)] for number in range(count)]
        async with time_limit(_PROGRESS_SECONDS, f"{count} calls at once"):
            outcomes = await asyncio.gather(
                *(each.call(backend.kv, key) for each in calls), return_exceptions=True
            )
        for outcome in outcomes:
            # A conflict is an answer too.
            if isinstance(outcome, BaseException) and not isinstance(outcome, VersionConflict):
                raise outcome

    async def test_calls_with_many_keys_at_once_all_finish(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, declared = backend.kv, backend.profile.capabilities
        calls: list[Callable[[Sequence[str]], Coroutine[object, None, object]]] = []
        if Capability.BATCH in declared:
            calls += [kv.get_many, kv.delete_many, lambda keys: kv.set_many(_puts(keys))]
        if Capability.TRANSACTIONS in declared:
            calls.append(lambda keys: kv.apply([], _puts(keys)))
        if not calls:
            pytest.skip(f"{UNSUPPORTED}no operation takes several keys")
        keys = keys_together(prefix, _KEYS_OF_A_LARGE_CALL)
        # Where each key has a lock, two calls in opposite orders wait for one another.
        orders = keys, keys[::-1]
        count = min(backend.max_in_flight, _LARGE_CALLS)
        async with time_limit(_PROGRESS_SECONDS, f"{count} calls with {len(keys)} keys at once"):
            await gather_or_cancel(
                *(calls[at % len(calls)](orders[at // len(calls) % 2]) for at in range(count))
            )


def _puts(keys: Sequence[str]) -> list[Put]:
    return [Put(key, b"1") for key in keys]


async def _work(
    recorder: Recorder, clients: list[FullKeyValue], keys: list[str], backend: Backend
) -> None:
    async def work(number: int) -> None:
        name = f"caller {number}"
        caller = recorder.caller(name, clients[number % len(clients)])
        workload = RandomWorkload(name, caller, keys, backend.profile)
        for _ in range(RANDOM_STEPS):
            await workload.step()
            await asyncio.sleep(0)

    await gather_or_cancel(*(work(number) for number in range(RANDOM_CALLERS)))


async def _beside(main: Awaitable[None], call: Callable[[], Awaitable[object]]) -> None:
    """Await `main`, while callers repeat the call without a pause."""
    ended = False

    async def repeat() -> None:
        while not ended:
            await call()
            await asyncio.sleep(0)

    async def run() -> None:
        nonlocal ended
        try:
            await main
        finally:
            ended = True

    await gather_or_cancel(run(), *(repeat() for _ in range(BESIDE)))
