"""Group transactions: `Capability.TRANSACTIONS`, one transaction after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

import pytest

from prism.ports import (
    Capability,
    Condition,
    ConditionFailed,
    Delete,
    Entry,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    Presence,
    Put,
    Unsupported,
    Version,
    VersionKind,
    Write,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import UNSUPPORTED, Group, group, needs, runs_without_capability
from prism.testing.suite.timing import LONG, Clock
from prism.testing.suite.transactions_together import (
    TransactionsTogether,
    entries_of,
    keys_together,
)
from prism.testing.suite.ttl_writes import BAD_TTLS
from prism.testing.suite.watch_recorder import DeclaredEvents, watching

ABSENT, PRESENT = Presence.ABSENT, Presence.PRESENT

Prepare: TypeAlias = Callable[[FullKeyValue, str], Awaitable[Version | None]]


async def _absent(kv: FullKeyValue, key: str) -> None:
    """Leave the key as it is."""


async def _deleted(kv: FullKeyValue, key: str) -> None:
    await kv.set(key, b"value")
    await kv.delete(key)


async def _written(kv: FullKeyValue, key: str) -> Version:
    return await kv.set(key, b"value")


async def _empty(kv: FullKeyValue, key: str) -> Version:
    return await kv.set(key, b"")


STATES: Mapping[str, Prepare] = {
    "absent": _absent,
    "deleted": _deleted,
    "written": _written,
    "empty": _empty,
}

BAD_ITEMS: Mapping[str, Callable[[str], tuple[list[Condition], list[Write]]]] = {
    "empty key of a condition": lambda key: ([Condition("", ABSENT)], []),
    "empty key of a put": lambda key: ([], [Put("", b"1")]),
    "empty key of a delete": lambda key: ([], [Delete("")]),
    "long key": lambda key: ([], [Delete("k" * 1025)]),
    "lone surrogate": lambda key: ([], [Put("\ud800", b"1")]),
    "key written twice": lambda key: ([], [Put(key, b"1"), Put(key, b"2")]),
    "key written and deleted": lambda key: ([], [Put(key, b"1"), Delete(key)]),
    "two conditions on a key": lambda key: ([Condition(key, ABSENT)] * 2, []),
}
"""Transactions that no backend accepts, given a key that they may name."""


@group(Capability.TRANSACTIONS)
class Transactions(TransactionsTogether, Group):
    """apply."""

    @runs_without_capability
    async def test_apply_is_refused_unless_declared(self, backend: Backend, prefix: str) -> None:
        kv, (one, two) = backend.kv, keys_together(prefix, 2)
        await kv.set(two, b"old")
        call = kv.apply([Condition(one, ABSENT)], [Put(one, b"new"), Delete(two)])
        if Capability.TRANSACTIONS in backend.profile.capabilities:
            await call
            assert (await kv.exists(one), await kv.exists(two)) == (True, False)
            return
        with pytest.raises(Unsupported):
            await call
        assert (await kv.exists(one), await kv.exists(two)) == (False, True)

    async def test_every_write_of_a_transaction_takes_effect(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        new, replaced, deleted, never = keys_together(prefix, 4)
        await kv.set(replaced, b"old")
        await kv.set(deleted, b"old")
        results = await kv.apply(
            [], [Put(new, b"1"), Delete(deleted), Put(replaced, b"2"), Delete(never)]
        )
        first, existed, second, nothing = results
        assert (existed, nothing) == (True, False)
        assert await kv.get(new) == Entry(b"1", Version(first))
        assert await kv.get(replaced) == Entry(b"2", Version(second))
        assert await kv.get(deleted) is None
        assert await kv.get(never) is None

    async def test_a_transaction_writes_values_byte_for_byte(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        values = [
            b"",
            b"0",
            b"SET",
            b"\x00",
            b"\xff\xfe",
            bytes(range(256)),
            b"\r\n",
            b"x" * 70_000,
        ]
        keys = keys_together(f"{prefix}é\x00 *", len(values))
        await kv.apply([], list(map(Put, keys, values)))
        assert [entry and entry.value for entry in await entries_of(kv, keys)] == values

    @pytest.mark.parametrize("state", STATES)
    async def test_conditions_hold_exactly_if_the_key_is_so(
        self, kv: FullKeyValue, prefix: str, state: str
    ) -> None:
        key, other = keys_together(prefix, 2)
        version = await STATES[state](kv, key)
        before = await kv.get(key)
        expectations: dict[Version | Presence, bool] = {
            ABSENT: version is None,
            PRESENT: version is not None,
            Version(0): version == 0,
            Version((1 << 64) - 1): version == (1 << 64) - 1,
        }
        if version is not None:
            expectations[version] = True
        for number, (expected, holds) in enumerate(expectations.items()):
            await kv.delete(other)
            call = kv.apply([Condition(key, expected)], [Put(other, b"%d" % number)])
            if holds:
                await call
            else:
                with pytest.raises(ConditionFailed):
                    await call
            assert await kv.exists(other) is holds, (state, expected)
            assert await kv.get(key) == before, "a condition changed its key"

    async def test_an_outdated_version_does_not_hold(self, kv: FullKeyValue, prefix: str) -> None:
        key, other = keys_together(prefix, 2)
        outdated = await kv.set(key, b"one")
        current = await kv.set(key, b"two")
        with pytest.raises(ConditionFailed):
            await kv.apply([Condition(key, outdated)], [Put(other, b"new")])
        assert await kv.exists(other) is False
        await kv.apply([Condition(key, current)], [Put(other, b"new")])

    async def test_a_condition_that_does_not_hold_changes_nothing(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = keys_together(prefix, 5)
        for key in keys[:4]:
            await kv.set(key, b"old")
        before = await entries_of(kv, keys)
        good = [
            Condition(key, ABSENT if entry is None else entry.version)
            for key, entry in zip(keys, before, strict=True)
        ]
        for failing in range(len(keys)):
            wrong = Condition(keys[failing], ABSENT if before[failing] else PRESENT)
            conditions = [*good[:failing], wrong, *good[failing + 1 :]]
            with pytest.raises(ConditionFailed) as failure:
                await kv.apply(
                    conditions,
                    [Put(keys[0], b"new"), Put(keys[4], b"new"), Delete(keys[1]), Delete(keys[2])],
                )
            assert failure.value.outcome is Outcome.NOT_APPLIED
            assert await entries_of(kv, keys) == before, f"condition {failing} of {len(keys)}"

    async def test_the_error_tells_the_first_condition_that_does_not_hold(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        present, absent, other = keys_together(prefix, 3)
        version = await kv.set(present, b"value")
        wrong_version = Version(version ^ 1)
        for conditions, index, current in (
            ([Condition(absent, PRESENT), Condition(present, ABSENT)], 0, None),
            ([Condition(present, version), Condition(absent, PRESENT)], 1, None),
            ([Condition(absent, ABSENT), Condition(present, ABSENT)], 1, version),
            ([Condition(present, wrong_version), Condition(absent, PRESENT)], 0, version),
            ([Condition(present, PRESENT), Condition(absent, version)], 1, None),
        ):
            with pytest.raises(ConditionFailed) as failure:
                await kv.apply(conditions, [Put(other, b"new")])
            assert (failure.value.index, failure.value.current) == (index, current), conditions
            assert failure.value.message

    async def test_conditions_alone_confirm_what_was_read(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        one, two = keys_together(prefix, 2)
        await kv.set(one, b"value")
        read = await entries_of(kv, [one, two])
        conditions = list(map(Condition.unchanged, (one, two), read))
        assert await kv.apply(conditions, []) == []
        assert await entries_of(kv, [one, two]) == read
        await kv.set(two, b"new")
        with pytest.raises(ConditionFailed) as failure:
            await kv.apply(conditions, [])
        assert failure.value.index == 1

    async def test_a_transaction_of_nothing_has_no_result(self, kv: FullKeyValue) -> None:
        assert await kv.apply([], []) == []

    async def test_a_condition_and_a_write_may_name_one_key(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        key, other = keys_together(prefix, 2)
        (version,) = await kv.apply([Condition(key, ABSENT)], [Put(key, b"1")])
        results = await kv.apply(
            [Condition(other, ABSENT), Condition(key, Version(version))],
            [Put(key, b"2"), Put(other, b"3")],
        )
        assert [entry and entry.version for entry in await entries_of(kv, [key, other])] == results
        assert await kv.apply([Condition(key, PRESENT)], [Delete(key)]) == [True]
        assert await kv.exists(key) is False

    @pytest.mark.parametrize("bad", BAD_ITEMS)
    async def test_a_bad_item_refuses_the_whole_transaction(
        self, kv: FullKeyValue, prefix: str, bad: str
    ) -> None:
        one, two, named = keys_together(prefix, 3)
        await kv.set(two, b"old")
        conditions, writes = BAD_ITEMS[bad](named)
        with pytest.raises(InvalidArgument) as refusal:
            await kv.apply(
                [Condition(one, ABSENT), *conditions], [Put(one, b"1"), *writes, Delete(two)]
            )
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        found = [await kv.exists(key) for key in (one, two, named)]
        assert found == [False, True, False]

    async def test_a_value_over_the_limit_refuses_the_whole_transaction(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_value_bytes
        one, two = keys_together(prefix, 2)
        with pytest.raises(InvalidArgument):
            await kv.apply([], [Put(one, b"1"), Put(two, bytes(limit + 1))])
        assert await entries_of(kv, [one, two]) == [None, None]
        await kv.apply([], [Put(one, b"1"), Put(two, bytes(limit))])
        assert await kv.exists(two) is True

    async def test_a_transaction_may_have_as_many_items_as_the_limit(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_batch_items
        keys = keys_together(prefix, limit)
        conditions = [Condition(key, ABSENT) for key in keys[: limit // 2]]
        puts: list[Write] = [Put(key, key.encode()) for key in keys[: limit - limit // 2]]
        await kv.apply(conditions, puts)
        for put in (puts[0], puts[-1]):
            entry = await kv.get(put.key)
            assert entry is not None
            assert entry.value == put.key.encode()
        deletes = [Delete(key) for key in keys]
        with pytest.raises(InvalidArgument):
            await kv.apply([Condition(keys[0], PRESENT)], deletes)
        assert await kv.exists(keys[0]) is True
        assert await kv.apply([], deletes) == [True] * len(puts) + [False] * (limit - len(puts))

    async def test_a_transaction_over_the_limit_on_bytes_is_refused(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, limits = backend.kv, backend.profile.limits
        keys = keys_together(prefix, limits.max_batch_bytes // limits.max_value_bytes + 1)
        # Just above the limit: a larger message would be refused for its own size.
        size = limits.max_batch_bytes // len(keys) + 1
        if len(keys) > limits.max_batch_items:
            pytest.skip(f"{UNSUPPORTED}the limit on items comes first")
        with pytest.raises(InvalidArgument):
            await kv.apply([], [Put(key, bytes(size)) for key in keys])
        assert await kv.exists(keys[0]) is False

    async def test_a_revision_changes_with_an_equal_value_in_a_transaction(
        self, backend: Backend, prefix: str
    ) -> None:
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions are digests, and equal values have the same")
        kv, (key, other) = backend.kv, keys_together(prefix, 2)
        outdated = await kv.set(key, b"same")
        for _ in range(3):
            await kv.apply([Condition(key, outdated)], [Put(other, b"same"), Put(key, b"same")])
            with pytest.raises(ConditionFailed):
                await kv.apply([Condition(key, outdated)], [Delete(other)])
            entry = await kv.get(key)
            assert entry is not None
            outdated = entry.version

    @needs(Capability.TTL)
    async def test_each_put_of_a_transaction_has_its_own_ttl(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        short, long, lasting = keys_together(prefix, 3)
        await kv.set(lasting, b"old", ttl=LONG)
        await kv.apply(
            [], [Put(short, b"1", clock.short), Put(long, b"2", LONG), Put(lasting, b"3")]
        )
        lifetime = await kv.ttl(long)
        assert lifetime is not None
        assert lifetime.remaining is not None
        assert abs(lifetime.remaining - LONG) < timedelta(minutes=1)
        assert await kv.ttl(lasting) == Lifetime(None)
        await clock.wait_for_expiry(kv, short)
        assert [await kv.exists(key) for key in (long, lasting)] == [True, True]

    @needs(Capability.TTL)
    @pytest.mark.parametrize("ttl", BAD_TTLS.values(), ids=BAD_TTLS.keys())
    async def test_a_bad_ttl_refuses_the_whole_transaction(
        self, kv: FullKeyValue, prefix: str, ttl: timedelta
    ) -> None:
        one, two = keys_together(prefix, 2)
        with pytest.raises(InvalidArgument):
            await kv.apply([], [Put(one, b"1"), Put(two, b"2", ttl)])
        assert await entries_of(kv, [one, two]) == [None, None]

    @needs(Capability.TTL)
    async def test_a_condition_that_does_not_hold_leaves_the_ttls_unchanged(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = keys_together(prefix, 2)
        await kv.set(keys[0], b"value", ttl=LONG)
        await kv.set(keys[1], b"value")
        before = await entries_of(kv, keys)
        with pytest.raises(ConditionFailed):
            await kv.apply(
                [Condition(keys[0], ABSENT)], [Put(keys[0], b"new"), Put(keys[1], b"new", LONG)]
            )
        assert await entries_of(kv, keys) == before

    @needs(Capability.TTL)
    async def test_an_expired_key_is_absent_to_a_transaction(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        # Nobody reads them after their expiry, so a backend may still have them.
        keys = keys_together(prefix, 3)
        versions = [await kv.set(key, b"old", ttl=clock.short) for key in keys]
        await clock.outlive(kv)
        with pytest.raises(ConditionFailed) as failure:
            await kv.apply([Condition(keys[0], versions[0])], [Put(keys[1], b"new")])
        assert failure.value.current is None
        assert await kv.apply([], [Delete(keys[1])]) == [False]
        await kv.apply([Condition(key, ABSENT) for key in keys], [Put(keys[2], b"new")])
        assert await kv.ttl(keys[2]) == Lifetime(None)

    @needs(Capability.WATCH)
    async def test_each_write_of_a_transaction_is_reported(
        self, backend: Backend, prefix: str
    ) -> None:
        kv, declared = backend.kv, DeclaredEvents.of(backend.profile)
        put, deleted, never = keys_together(prefix, 3)
        await kv.set(deleted, b"old")
        async with watching(kv, "{" + prefix) as recorder:
            with pytest.raises(ConditionFailed):
                await kv.apply([Condition(put, PRESENT)], [Put(put, b"0"), Delete(deleted)])
            versions = await kv.apply([], [Put(put, b"1"), Delete(deleted), Delete(never)])
            last = await kv.set(never, b"last")
            await recorder.wait_for_count(3)
            assert recorder.events_of(put) == [declared.put(put, b"1", Version(versions[0]))]
            assert [event.change for event in recorder.events_of(deleted)] == ["delete"]
            assert recorder.events_of(never) == [declared.put(never, b"last", last)]
