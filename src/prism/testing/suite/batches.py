"""Group Batch: `Capability.BATCH`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from prism.ports import (
    Capability,
    Entry,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    PrismError,
    Put,
    Unsupported,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.batch_limits import BatchLimits
from prism.testing.suite.group import group, needs, runs_without_capability
from prism.testing.suite.timing import LONG, Clock

BAD_KEYS = {"empty": "", "too long": "k" * 1025, "lone surrogate": "a\ud800b"}


@group(Capability.BATCH)
class Batches(BatchLimits):
    """get_many, set_many, delete_many: one outcome per item, in request order."""

    @runs_without_capability
    async def test_batch_is_refused_unless_declared(self, backend: Backend, key: str) -> None:
        kv = backend.kv
        if Capability.BATCH in backend.profile.capabilities:
            assert len(await kv.set_many([Put(key, b"value")])) == 1
            assert await kv.exists(key) is True
            return
        with pytest.raises(Unsupported):
            await kv.set_many([Put(key, b"value")])
        assert await kv.exists(key) is False
        await kv.set(key, b"value")
        with pytest.raises(Unsupported):
            await kv.get_many([key])
        with pytest.raises(Unsupported):
            await kv.delete_many([key])
        assert await kv.exists(key) is True

    async def test_get_many_answers_in_request_order(self, kv: FullKeyValue, prefix: str) -> None:
        order = [7, 2, 9, 0, 5, 1, 8, 3]
        for number in sorted(order):
            await kv.set(f"{prefix}{number}", b"%d" % number)
        outcomes = await kv.get_many([f"{prefix}{number}" for number in order])
        assert [_value(outcome) for outcome in outcomes] == [b"%d" % number for number in order]

    async def test_get_many_tells_absent_and_empty_apart(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        await kv.set(f"{prefix}empty", b"")
        await kv.set(f"{prefix}full", b"value")
        keys = [f"{prefix}absent", f"{prefix}empty", f"{prefix}full", f"{prefix}absent too"]
        outcomes = await kv.get_many(keys)
        assert [outcome and _value(outcome) for outcome in outcomes] == [None, b"", b"value", None]

    async def test_get_many_shows_what_get_shows(self, kv: FullKeyValue, prefix: str) -> None:
        keys = [f"{prefix}{number}" for number in range(5)]
        for key in keys:
            await kv.set(key, key.encode())
        assert await kv.get_many(keys) == [await kv.get(key) for key in keys]

    async def test_get_many_of_one_key_twice(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        outcomes = await kv.get_many([key, key])
        assert [_value(outcome) for outcome in outcomes] == [b"value", b"value"]

    async def test_set_many_writes_every_item(self, kv: FullKeyValue, prefix: str) -> None:
        puts = [Put(f"{prefix}{number}", b"%d" % number) for number in range(50)]
        await kv.set_many(puts)
        for put in puts:
            entry = await kv.get(put.key)
            assert entry is not None
            assert entry.value == put.value

    async def test_set_many_answers_versions_in_request_order(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        puts = [Put(f"{prefix}{number}", b"%d" % number) for number in (3, 1, 2, 0)]
        versions = await kv.set_many(puts)
        entries = [await kv.get(put.key) for put in puts]
        assert versions == [entry and entry.version for entry in entries]

    async def test_set_many_overwrites(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"old")
        await kv.set_many([Put(key, b"")])
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b""

    async def test_a_key_set_twice_keeps_the_last(self, kv: FullKeyValue, prefix: str) -> None:
        keys = [f"{prefix}a", f"{prefix}b"]
        values = [b"%d" % turn for turn in range(6)]
        versions = await kv.set_many([Put(key, value) for value in values for key in keys])
        assert len(versions) == 12
        for key, last in zip(keys, versions[-2:], strict=True):
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (b"5", last)

    async def test_delete_many_says_which_existed(self, kv: FullKeyValue, prefix: str) -> None:
        await kv.set(f"{prefix}a", b"value")
        await kv.set(f"{prefix}c", b"")
        keys = [f"{prefix}{name}" for name in "abcd"]
        assert await kv.delete_many(keys) == [True, False, True, False]
        assert [await kv.exists(key) for key in keys] == [False] * 4

    async def test_a_key_deleted_twice_existed_once(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.delete_many([key, key]) == [True, False]

    async def test_batches_leave_other_keys_alone(self, kv: FullKeyValue, prefix: str) -> None:
        await kv.set(f"{prefix}other", b"value")
        await kv.set_many([Put(f"{prefix}a", b"1"), Put(f"{prefix}b", b"2")])
        await kv.delete_many([f"{prefix}a", f"{prefix}b"])
        assert await kv.exists(f"{prefix}other") is True

    async def test_an_empty_batch_does_nothing(self, kv: FullKeyValue) -> None:
        assert await kv.get_many([]) == []
        assert await kv.set_many([]) == []
        assert await kv.delete_many([]) == []

    @pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS.keys())
    async def test_a_bad_key_fails_alone(self, kv: FullKeyValue, prefix: str, bad: str) -> None:
        one, two = f"{prefix}one", f"{prefix}two"
        written = await kv.set_many([Put(one, b"1"), Put(bad, b"bad"), Put(two, b"2")])
        assert _failed(written) == [1]
        read = await kv.get_many([bad, one, bad, two])
        assert _failed(read) == [0, 2]
        assert [_value(read[1]), _value(read[3])] == [b"1", b"2"]
        deleted = await kv.delete_many([one, two, bad])
        assert _failed(deleted) == [2]
        assert deleted[:2] == [True, True]

    async def test_every_item_may_be_bad(self, kv: FullKeyValue) -> None:
        assert _failed(await kv.get_many(["", ""])) == [0, 1]
        assert _failed(await kv.set_many([Put("", b"1"), Put("", b"2")])) == [0, 1]
        assert _failed(await kv.delete_many(["", ""])) == [0, 1]

    @needs(Capability.TTL)
    async def test_each_item_has_its_own_ttl(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        short, long, none = (f"{prefix}{name}" for name in ("short", "long", "none"))
        for key in (short, long, none):
            await kv.set(key, b"old", ttl=2 * LONG)
        await kv.set_many([Put(short, b"1", clock.short), Put(none, b"2"), Put(long, b"3", LONG)])
        assert await kv.ttl(none) == Lifetime(None)
        lifetime = await kv.ttl(long)
        assert lifetime is not None
        assert lifetime.remaining is not None
        assert lifetime.remaining.total_seconds() <= clock.latest_expiry(LONG)
        await clock.wait_for_expiry(kv, short)
        outcomes = await kv.get_many([short, none, long])
        assert [outcome and _value(outcome) for outcome in outcomes] == [None, b"2", b"3"]

    @needs(Capability.TTL)
    @pytest.mark.parametrize("milliseconds", [0, -1, 36_526 * 86_400_000])
    async def test_a_bad_ttl_fails_alone(
        self, kv: FullKeyValue, prefix: str, milliseconds: int
    ) -> None:
        bad = Put(f"{prefix}bad", b"bad", timedelta(milliseconds=milliseconds))
        outcomes = await kv.set_many([Put(f"{prefix}one", b"1"), bad, Put(f"{prefix}two", b"2")])
        assert _failed(outcomes) == [1]
        assert await kv.exists(bad.key) is False
        assert await kv.exists(f"{prefix}two") is True

    @needs(Capability.TTL)
    async def test_the_smallest_ttl_of_an_item_is_not_none(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        smallest = timedelta(microseconds=1)
        assert _failed(await kv.set_many([Put(key, b"value", smallest)])) == []
        await clock.wait_for_expiry(kv, key, smallest)


def _value(outcome: Entry | PrismError | None) -> bytes:
    assert isinstance(outcome, Entry), f"no entry: {outcome!r}"
    return outcome.value


def _failed(outcomes: Sequence[object]) -> list[int]:
    """The positions of the items refused as invalid; any other error fails the test."""
    refused = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, PrismError):
            assert isinstance(outcome, InvalidArgument), f"item {index}: {outcome!r}"
            assert outcome.outcome is Outcome.NOT_APPLIED
            refused.append(index)
    return refused
