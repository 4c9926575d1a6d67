"""Group counter: `Capability.COUNTER`."""

from __future__ import annotations

import asyncio
import random

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    PreconditionFailed,
    Unsupported,
    VersionKind,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.calls import gather_bounded
from prism.testing.suite.group import UNSUPPORTED, Group, group, needs, runs_without_capability
from prism.testing.suite.timing import LONG, Clock

MIN = -(1 << 63)
MAX = (1 << 63) - 1

NOT_CANONICAL = [
    b"",
    b" ",
    b"-",
    b"+",
    b" 1",
    b"1 ",
    b"1\n",
    b"+1",
    b"00",
    b"01",
    b"-0",
    b"-01",
    b"--1",
    b"1.0",
    b"1e3",
    b"0x1",
    b"1_000",
    b"1,000",
    b"1\x00",
    b"one",
    b"\xff",
    b"\x01",
    "\u0661".encode(),  # a digit of another script
    "\uff11".encode(),
    b"%d" % (MAX + 1),
    b"%d" % (MIN - 1),
    b"9" * 40,
]


@group(Capability.COUNTER)
class Counters(Group):
    """increment."""

    @runs_without_capability
    async def test_counter_is_refused_unless_declared(self, backend: Backend, key: str) -> None:
        if Capability.COUNTER in backend.profile.capabilities:
            await backend.kv.increment(key)
            assert await backend.kv.exists(key) is True
            return
        with pytest.raises(Unsupported):
            await backend.kv.increment(key)
        assert await backend.kv.exists(key) is False

    async def test_an_absent_key_counts_as_zero(self, kv: FullKeyValue, prefix: str) -> None:
        for number, delta in enumerate((1, 5, -3, 0)):
            count = await kv.increment(f"{prefix}{number}", delta)
            assert count.value == delta

    async def test_the_delta_is_one_by_default(self, kv: FullKeyValue, key: str) -> None:
        assert [(await kv.increment(key)).value for _ in range(3)] == [1, 2, 3]

    async def test_deltas_add_up(self, kv: FullKeyValue, key: str) -> None:
        deltas = [10, -3, 0, 1 << 40, -(1 << 41), 7]
        totals = [(await kv.increment(key, delta)).value for delta in deltas]
        assert totals == [sum(deltas[: at + 1]) for at in range(len(deltas))]

    @pytest.mark.parametrize("number", [0, 7, -7, 10, -100, MAX, MIN])
    async def test_the_number_is_stored_as_canonical_text(
        self, kv: FullKeyValue, key: str, number: int
    ) -> None:
        await kv.increment(key, number)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"%d" % number

    async def test_crossing_zero_stays_canonical(self, kv: FullKeyValue, key: str) -> None:
        for delta, text in ((-1, b"-1"), (1, b"0"), (1, b"1"), (-1, b"0"), (-1, b"-1")):
            await kv.increment(key, delta)
            entry = await kv.get(key)
            assert entry is not None
            assert entry.value == text

    @pytest.mark.parametrize("number", [0, 42, -42, MAX - 1, MIN])
    async def test_increment_continues_from_a_number_written_by_set(
        self, kv: FullKeyValue, key: str, number: int
    ) -> None:
        await kv.set(key, b"%d" % number)
        assert (await kv.increment(key, 1)).value == number + 1

    async def test_increment_returns_the_version_that_get_returns(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for delta in (1, 1, 0):
            count = await kv.increment(key, delta)
            entry = await kv.get(key)
            assert entry is not None
            assert entry.version == count.version

    async def test_a_delta_of_zero_creates_the_key(self, kv: FullKeyValue, key: str) -> None:
        await kv.increment(key, 0)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"0"

    async def test_a_delta_of_zero_writes(self, backend: Backend, key: str) -> None:
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions are digests, and the number stays the same")
        versions = [(await backend.kv.increment(key, delta)).version for delta in (7, 0, 0)]
        assert len(set(versions)) == 3

    @pytest.mark.parametrize("stored", NOT_CANONICAL)
    async def test_increment_of_a_non_canonical_number_is_refused(
        self, kv: FullKeyValue, key: str, stored: bytes
    ) -> None:
        await kv.set(key, stored)
        before = await kv.get(key)
        for delta in (1, 0, -1):
            with pytest.raises(PreconditionFailed) as refusal:
                await kv.increment(key, delta)
            assert refusal.value.reason == "NOT_AN_INTEGER"
            assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == before

    @pytest.mark.parametrize(
        ("stored", "delta"),
        [(MAX, 1), (MAX - 1, 2), (1, MAX), (MAX, MAX), (MIN, -1), (MIN + 1, -2), (-1, MIN)],
    )
    async def test_an_overflow_is_refused(
        self, kv: FullKeyValue, key: str, stored: int, delta: int
    ) -> None:
        await kv.set(key, b"%d" % stored)
        before = await kv.get(key)
        with pytest.raises(PreconditionFailed) as refusal:
            await kv.increment(key, delta)
        assert refusal.value.reason == "OVERFLOW"
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == before

    @pytest.mark.parametrize(
        ("start", "delta"), [(MIN, MAX), (MAX, MIN), (MAX - 1, 1), (1 << 53, 1)]
    )
    async def test_the_whole_int64_range_is_supported(
        self, kv: FullKeyValue, key: str, start: int, delta: int
    ) -> None:
        await kv.increment(key, start)
        assert (await kv.increment(key, delta)).value == start + delta

    @pytest.mark.parametrize("delta", [MAX + 1, MIN - 1, 1 << 70])
    async def test_a_delta_outside_int64_is_refused(
        self, kv: FullKeyValue, key: str, delta: int
    ) -> None:
        with pytest.raises(InvalidArgument):
            await kv.increment(key, delta)
        assert await kv.exists(key) is False

    async def test_no_increment_is_lost_under_contention(self, kv: FullKeyValue, key: str) -> None:
        callers, turns = 50, 6

        async def count() -> list[int]:
            return [(await kv.increment(key)).value for _ in range(turns)]

        seen = await asyncio.gather(*(count() for _ in range(callers)))
        numbers = sorted(number for each in seen for number in each)
        assert numbers == list(range(1, callers * turns + 1))

    async def test_positive_and_negative_deltas_add_up_under_contention(
        self, kv: FullKeyValue, key: str
    ) -> None:
        chance = random.Random(key)
        deltas = [chance.randint(-1000, 1000) for _ in range(200)]
        await gather_bounded(kv.increment(key, delta) for delta in deltas)
        assert (await kv.increment(key, 0)).value == sum(deltas)

    @needs(Capability.TTL)
    async def test_increment_keeps_the_ttl(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"1", ttl=LONG)
        before = await kv.get(key)
        await kv.increment(key)
        after = await kv.get(key)
        assert before is not None
        assert after is not None
        assert after.value == b"2"
        assert after.expires_at_ms is not None
        assert after.expires_at_ms == before.expires_at_ms

    @needs(Capability.TTL)
    async def test_increment_adds_no_ttl(self, kv: FullKeyValue, key: str) -> None:
        for _ in range(2):
            await kv.increment(key)
            assert await kv.ttl(key) == Lifetime(None)

    @needs(Capability.TTL)
    async def test_increment_does_not_extend_the_ttl(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"1", ttl=clock.short)
        while (await kv.increment(key)).value == 1:
            # The machine was so busy that the key had expired.
            await kv.set(key, b"1", ttl=clock.short)
        await clock.wait_for_expiry(kv, key)

    @needs(Capability.TTL)
    async def test_an_expired_counter_starts_at_zero(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"41", ttl=clock.short)
        await clock.wait_for_expiry(kv, key)
        assert (await kv.increment(key)).value == 1
        assert await kv.ttl(key) == Lifetime(None)
