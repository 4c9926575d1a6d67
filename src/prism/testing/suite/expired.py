"""Group ttl: expired keys that nobody has read since they expired.

A backend may remove an expired key only when a read finds it. Each test therefore outlives
its keys by the clock, and the operation under test is the first that sees them.
"""

from __future__ import annotations

import asyncio

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    Lifetime,
    Outcome,
    Persisted,
    Put,
    VersionConflict,
)
from prism.testing.suite.group import Group, group, needs
from prism.testing.suite.timing import LONG, Clock


@group(Capability.TTL)
class ExpiredKeys(Group):
    """An expired key is absent to every operation."""

    async def test_an_unread_expired_key_is_absent(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        by_get, by_exists, by_ttl = await _expired(kv, prefix, clock, 3)
        assert await kv.get(by_get) is None
        assert await kv.exists(by_exists) is False
        assert await kv.ttl(by_ttl) is None

    async def test_delete_does_not_find_an_unread_expired_key(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        (key,) = await _expired(kv, prefix, clock)
        assert await kv.delete(key) is False

    async def test_expire_does_not_revive_an_unread_expired_key(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        (key,) = await _expired(kv, prefix, clock)
        assert await kv.expire(key, LONG) is False
        assert await kv.get(key) is None

    async def test_persist_does_not_revive_an_unread_expired_key(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        (key,) = await _expired(kv, prefix, clock)
        assert await kv.persist(key) is Persisted.NO_KEY
        assert await kv.get(key) is None

    async def test_an_unread_expired_key_can_be_set_again(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        (key,) = await _expired(kv, prefix, clock)
        version = await kv.set(key, b"new")
        entry = await kv.get(key)
        assert entry == (b"new", version, None)
        assert await kv.ttl(key) == Lifetime(None)

    @needs(Capability.COUNTER)
    async def test_an_unread_expired_counter_starts_at_zero(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        counter, text = await _expired(kv, prefix, clock, 2)
        assert (await kv.increment(counter, 5)).value == 5
        assert (await kv.increment(text, 0)).value == 0
        assert [await kv.ttl(key) for key in (counter, text)] == [Lifetime(None)] * 2

    @needs(Capability.COMPARE_AND_SET)
    async def test_set_if_absent_writes_an_unread_expired_key(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        lasting, expiring = await _expired(kv, prefix, clock, 2)
        version = await kv.compare_and_set(lasting, b"new", expected=None)
        assert await kv.get(lasting) == (b"new", version, None)
        await kv.compare_and_set(expiring, b"new", expected=None, ttl=LONG)
        lifetime = await kv.ttl(expiring)
        assert lifetime is not None
        assert lifetime.remaining is not None

    @needs(Capability.COMPARE_AND_SET)
    async def test_the_version_of_an_unread_expired_key_conflicts(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        written = {
            key: await kv.set(key, b"old", ttl=clock.short) for key in (f"{prefix}a", f"{prefix}b")
        }
        await clock.outlive(kv)
        (one, one_version), (two, two_version) = written.items()
        with pytest.raises(VersionConflict) as conflict:
            await kv.compare_and_set(one, b"new", expected=one_version)
        assert conflict.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(VersionConflict):
            await kv.compare_and_delete(two, expected=two_version)
        assert [await kv.get(key) for key in written] == [None, None]

    @needs(Capability.BATCH)
    async def test_a_batch_does_not_find_unread_expired_keys(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        lasting = f"{prefix}lasting"
        await kv.set(lasting, b"value")
        read, deleted, written = await _expired(kv, prefix, clock, 3)
        entries = await kv.get_many([read, lasting])
        assert [entry and entry is not None for entry in entries] == [None, True]
        assert await kv.delete_many([deleted, lasting]) == [False, True]
        await kv.set_many([Put(written, b"new")])
        assert await kv.ttl(written) == Lifetime(None)

    @needs(Capability.SCAN)
    @pytest.mark.parametrize("values", [False, True], ids=["keys", "entries"])
    async def test_a_scan_does_not_return_unread_expired_keys(
        self, kv: FullKeyValue, prefix: str, clock: Clock, values: bool
    ) -> None:
        lasting = f"{prefix}lasting"
        await kv.set(lasting, b"value")
        await _expired(kv, prefix, clock, 5)
        found: list[str] = []
        token = ""
        while True:
            page = await kv.scan(prefix, page_size=2, page_token=token, values=values)
            found += page.keys
            token = page.next_token
            if not token:
                break
        assert set(found) == {lasting}


async def _expired(kv: FullKeyValue, prefix: str, clock: Clock, count: int = 1) -> list[str]:
    """Write keys with the value 41 and a short ttl; return them once they have expired."""
    keys = [f"{prefix}expired {number}" for number in range(count)]
    await asyncio.gather(*(kv.set(key, b"41", ttl=clock.short) for key in keys))
    await clock.outlive(kv)
    return keys
