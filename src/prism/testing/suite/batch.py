"""Group batch: `Capability.BATCH`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from prism.ports import (
    Capability,
    Entry,
    Exhausted,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    PrismError,
    Put,
    Unsupported,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import NOT_REACHABLE, Group, group, needs, runs_without_capability
from prism.testing.suite.timing import LONG, Clock

BAD_KEYS = {"empty": "", "too long": "k" * 1025, "lone surrogate": "a\ud800b"}


@group(Capability.BATCH)
class Batches(Group):
    """get_many, set_many and delete_many: one outcome for each item, in request order."""

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

    async def test_get_many_returns_outcomes_in_request_order(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        order = [7, 2, 9, 0, 5, 1, 8, 3]
        for number in sorted(order):
            await kv.set(f"{prefix}{number}", b"%d" % number)
        outcomes = await kv.get_many([f"{prefix}{number}" for number in order])
        assert [_value(outcome) for outcome in outcomes] == [b"%d" % number for number in order]

    async def test_get_many_distinguishes_absent_from_empty(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        await kv.set(f"{prefix}empty", b"")
        await kv.set(f"{prefix}full", b"value")
        keys = [f"{prefix}absent", f"{prefix}empty", f"{prefix}full", f"{prefix}absent too"]
        outcomes = await kv.get_many(keys)
        assert [outcome and _value(outcome) for outcome in outcomes] == [None, b"", b"value", None]

    async def test_get_many_returns_the_entries_that_get_returns(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(5)]
        for key in keys:
            await kv.set(key, key.encode())
        assert await kv.get_many(keys) == [await kv.get(key) for key in keys]

    async def test_get_many_accepts_a_key_twice(self, kv: FullKeyValue, key: str) -> None:
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

    async def test_set_many_returns_versions_in_request_order(
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

    async def test_a_key_set_twice_keeps_the_last_value(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}a", f"{prefix}b"]
        values = [b"%d" % turn for turn in range(6)]
        versions = await kv.set_many([Put(key, value) for value in values for key in keys])
        assert len(versions) == 12
        for key, last in zip(keys, versions[-2:], strict=True):
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (b"5", last)

    async def test_a_key_at_both_ends_of_a_full_batch_keeps_the_last_value(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_batch_items
        twice = f"{prefix}twice"
        others = [f"{prefix}{number}" for number in range(limit - 2)]
        puts = [Put(twice, b"first"), *(Put(key, key.encode()) for key in others)]
        versions = await kv.set_many([*puts, Put(twice, b"last")])
        entry = await kv.get(twice)
        assert entry is not None
        assert (entry.value, entry.version) == (b"last", versions[-1])
        existed = await kv.delete_many([twice, *others, twice])
        assert (existed[0], existed[-1]) == (True, False)
        assert existed[1:-1] == [True] * len(others)

    async def test_a_key_set_twice_has_a_version_for_each_value(
        self, kv: FullKeyValue, key: str
    ) -> None:
        values = [b"1", b"2", b"3"]
        versions = await kv.set_many([Put(key, value) for value in values])
        assert len(set(versions)) == 3

    @needs(Capability.TTL)
    async def test_a_key_set_twice_has_the_last_ttl(self, kv: FullKeyValue, prefix: str) -> None:
        keeps, loses = f"{prefix}keeps", f"{prefix}loses"
        await kv.set_many(
            [Put(keeps, b"1"), Put(loses, b"1", LONG), Put(keeps, b"1", LONG), Put(loses, b"1")]
        )
        lifetime = await kv.ttl(keeps)
        assert lifetime is not None
        assert lifetime.remaining is not None
        assert await kv.ttl(loses) == Lifetime(None)

    async def test_delete_many_reports_which_keys_existed(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        await kv.set(f"{prefix}a", b"value")
        await kv.set(f"{prefix}c", b"")
        keys = [f"{prefix}{name}" for name in "abcd"]
        assert await kv.delete_many(keys) == [True, False, True, False]
        assert [await kv.exists(key) for key in keys] == [False] * 4

    async def test_a_key_deleted_twice_in_a_batch_existed_once(
        self, kv: FullKeyValue, key: str
    ) -> None:
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

    async def test_a_batch_of_only_bad_items_fails_item_by_item(self, kv: FullKeyValue) -> None:
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

    # Limits: a batch over a limit is refused as a whole

    async def test_a_batch_at_the_item_limit_is_accepted(
        self, backend: Backend, prefix: str
    ) -> None:
        kv = backend.kv
        keys = [f"{prefix}{number}" for number in range(backend.profile.limits.max_batch_items)]
        versions = await kv.set_many([Put(key, key.encode()) for key in keys])
        assert [outcome for outcome in versions if not isinstance(outcome, int)] == []
        entries = await kv.get_many(keys)
        found = [entry.value.decode() for entry in entries if isinstance(entry, Entry)]
        assert found == keys
        assert await kv.delete_many(keys) == [True] * len(keys)

    async def test_a_batch_over_the_item_limit_is_refused(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_batch_items
        keys = [f"{prefix}{number}" for number in range(limit + 1)]
        await kv.set(keys[0], b"before")
        with pytest.raises(InvalidArgument) as refusal:
            await kv.set_many([Put(key, b"after") for key in keys])
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(InvalidArgument):
            await kv.get_many(keys)
        with pytest.raises(InvalidArgument):
            await kv.delete_many(keys)
        first = await kv.get(keys[0])
        assert first is not None
        assert first.value == b"before"
        assert await kv.exists(keys[-1]) is False

    async def test_a_batch_at_the_byte_limit_is_accepted(
        self, backend: Backend, prefix: str
    ) -> None:
        puts = _puts_of(backend, prefix, backend.profile.limits.max_batch_bytes)
        versions = await backend.kv.set_many(puts)
        assert [outcome for outcome in versions if not isinstance(outcome, int)] == []
        assert await backend.kv.delete_many([put.key for put in puts]) == [True] * len(puts)

    async def test_a_batch_over_the_byte_limit_is_refused(
        self, backend: Backend, prefix: str
    ) -> None:
        puts = _puts_of(backend, prefix, backend.profile.limits.max_batch_bytes + 1)
        with pytest.raises(InvalidArgument) as refusal:
            await backend.kv.set_many(puts)
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert [put.key for put in puts if await backend.kv.exists(put.key)] == []

    async def test_batch_bytes_are_counted_in_utf_8(self, backend: Backend, prefix: str) -> None:
        # Counted in characters, these keys would be within the limit.
        wide = Put(prefix + "🔑" * 200, b"")
        room = backend.profile.limits.max_batch_bytes - len(wide.key.encode()) + 1
        puts = [*_puts_of(backend, prefix, room), wide]
        with pytest.raises(InvalidArgument):
            await backend.kv.set_many(puts)
        assert [put.key for put in puts if await backend.kv.exists(put.key)] == []

    async def test_a_value_over_the_limit_fails_alone(self, backend: Backend, prefix: str) -> None:
        kv, limits = backend.kv, backend.profile.limits
        if limits.max_value_bytes + 1024 > limits.max_batch_bytes:
            pytest.skip(f"{NOT_REACHABLE}a value over its limit exceeds the limit of a batch too")
        one, large, two = (f"{prefix}{name}" for name in ("one", "large", "two"))
        outcomes = await kv.set_many(
            [Put(one, b"1"), Put(large, bytes(limits.max_value_bytes + 1)), Put(two, b"2")]
        )
        assert isinstance(outcomes[1], InvalidArgument)
        assert [await kv.exists(key) for key in (one, large, two)] == [True, False, True]

    async def test_items_that_exceed_the_reply_can_be_requested_again(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limits = backend.kv, backend.profile.limits
        size = min(limits.max_value_bytes, limits.max_batch_bytes // 3)
        count = 2 * limits.max_batch_bytes // size + 1
        expected = {f"{prefix}{number}": bytes([number]) * size for number in range(count)}
        for key, value in expected.items():
            await kv.set(key, value)
        found: dict[str, bytes] = {}
        rounds = 0
        while missing := [key for key in expected if key not in found]:
            rounds += 1
            *outcomes, nothing = await kv.get_many([*missing, f"{prefix}absent"])
            assert nothing is None, f"an absent key after values that do not fit: {nothing!r}"
            before = len(found)
            for key, outcome in zip(missing, outcomes, strict=True):
                if isinstance(outcome, Entry):
                    found[key] = outcome.value
                else:
                    assert isinstance(outcome, Exhausted), f"{key}: {outcome!r}"
            assert len(found) > before, "no item of the request fits a reply"
        await kv.delete_many(list(expected))
        assert found == expected
        assert rounds > 1, "a reply exceeded its byte limit"


def _value(outcome: Entry | PrismError | None) -> bytes:
    assert isinstance(outcome, Entry), f"expected an entry, got {outcome!r}"
    return outcome.value


def _failed(outcomes: Sequence[object]) -> list[int]:
    """Return the positions of invalid items; any other error fails the test."""
    refused = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, PrismError):
            assert isinstance(outcome, InvalidArgument), f"item {index}: {outcome!r}"
            assert outcome.outcome is Outcome.NOT_APPLIED
            refused.append(index)
    return refused


def _puts_of(backend: Backend, prefix: str, size: int) -> list[Put]:
    """Return items with this many bytes in total, keys and values together."""
    limit = backend.profile.limits.max_value_bytes
    puts: list[Put] = []
    while size:
        key = f"{prefix}{len(puts):04}"
        room = size - len(key)
        # What remains must be enough for one more key.
        length = room if room <= limit else min(limit, room - len(key))
        puts.append(Put(key, bytes(length)))
        size = room - length
    return puts
