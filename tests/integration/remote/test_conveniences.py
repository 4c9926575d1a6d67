"""What the client offers beside the operations, on both clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

import prism
from prism.ports import Condition, ConditionFailed, Entry, Put, VersionConflict

HOUR = timedelta(hours=1)
P = "convenient/"


@pytest.fixture
async def kv(shared_server: Any) -> AsyncIterator[prism.Client]:
    async with prism.connect(shared_server.address, timeout=timedelta(seconds=30)) as kv:
        await kv.delete_prefix(P)
        yield kv


async def test_more_keys_than_a_batch_may_have(kv: prism.Client) -> None:
    limit = kv.profile.limits.max_batch_items
    keys = [f"{P}{n:05}" for n in range(2 * limit + 1)]
    versions = await kv.set_many([Put(key, key.encode()) for key in keys])
    found = await kv.get_many([*keys, f"{P}none"])
    assert found[-1] is None
    entries = [each for each in found if isinstance(each, Entry)]
    assert [each.value.decode() for each in entries] == keys
    assert [each.version for each in entries] == versions
    assert await kv.count(P) == len(keys)
    assert sorted([key async for key in kv.scan_iter(P)]) == keys
    assert {key: entry.value async for key, entry in kv.scan_entries(P)} == {
        key: key.encode() for key in keys
    }
    assert await kv.delete_many(keys[:limit] + keys[:1]) == [True] * limit + [False]
    assert await kv.delete_prefix(P) == limit + 1
    assert await kv.count(P) == 0
    assert await kv.get_many([]) == []


async def test_more_bytes_than_a_batch_or_a_reply_may_have(kv: prism.Client) -> None:
    value = bytes(kv.profile.limits.max_value_bytes)
    puts = [Put(f"{P}{n}", value) for n in range(10)]
    assert all(isinstance(each, int) for each in await kv.set_many(puts))
    found = await kv.get_many([put.key for put in puts])
    assert all(isinstance(each, Entry) and len(each.value) == len(value) for each in found)
    assert await kv.delete_prefix(P) == 10


def test_blocking_client_has_all_of_it(kv: Any, shared_server: Any) -> None:
    with prism.connect_sync(shared_server.address, timeout=timedelta(seconds=30)) as blocking:
        keys = [f"{P}{n:05}" for n in range(1500)]
        assert len(blocking.set_many([Put(key, b"v") for key in keys])) == 1500
        assert sum(entry is not None for entry in blocking.get_many(keys)) == 1500
        assert blocking.count(P) == len(list(blocking.scan_iter(P))) == 1500
        for key, entry in blocking.scan_entries(P):
            assert (key, entry.value) == (keys[0], b"v")
            break
        assert blocking.delete_many(keys[:2]) == [True, True]
        assert blocking.delete_prefix(P) == 1498
        with blocking.lock(f"{P}lock", ttl=HOUR) as lock:
            lock.renew()
            held = blocking.get(f"{P}lock")
            assert held is not None
            assert held.version == lock.version
            again = blocking.lock(f"{P}lock", ttl=HOUR, wait=timedelta(0))
            with pytest.raises(VersionConflict, match="somebody else"), again:
                pass
        with pytest.raises(ZeroDivisionError), blocking.lock(f"{P}lock", ttl=HOUR):
            1 / 0  # noqa: B018
        assert not blocking.exists(f"{P}lock")


async def test_one_caller_at_a_time_holds_a_lock(kv: prism.Client) -> None:
    inside = 0

    async def count() -> None:
        nonlocal inside
        async with kv.lock(f"{P}lock", ttl=HOUR):
            inside += 1
            assert inside == 1
            entry = await kv.get(f"{P}count")
            number = 0 if entry is None else int(entry.value)
            await kv.set(f"{P}count", b"%d" % (number + 1))
            inside -= 1

    await asyncio.gather(*(count() for _ in range(10)))
    entry = await kv.get(f"{P}count")
    assert entry is not None
    assert entry.value == b"10"


async def test_holder_that_lost_its_lock_is_told_and_fenced(kv: prism.Client) -> None:
    key, write = f"{P}lock", [Put(f"{P}result", b"v")]
    losing = kv.lock(key, ttl=HOUR)
    lost = await losing.__aenter__()
    await kv.delete(key)
    with pytest.raises(VersionConflict, match="was lost"):
        await lost.renew()
    async with kv.lock(key, ttl=HOUR, wait=timedelta(0)) as held:
        with pytest.raises(VersionConflict, match="was lost"):
            await lost.renew()
        with pytest.raises(VersionConflict, match="was lost"):
            await losing.__aexit__(None, None, None)
        with pytest.raises(ConditionFailed):
            await kv.apply([Condition(key, lost.version)], write)
        await held.renew()
        await kv.apply([Condition(key, held.version)], write)
    assert await kv.exists(f"{P}result")
