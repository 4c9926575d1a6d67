import asyncio
from datetime import timedelta
from typing import Protocol

import pytest

from prism.adapters.memstore import Memstore
from prism.ports import Lifetime, Persisted, VersionConflict

SECOND = timedelta(seconds=1)


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...


async def until_empty(memstore: Memstore) -> None:
    async with asyncio.timeout(30):
        while (await memstore.health()).details["keys"] != "0":
            await asyncio.sleep(0.01)


async def test_an_expired_key_is_absent_to_every_operation(
    memstore: Memstore, clock: Clock
) -> None:
    version = await memstore.set("k", b"7", ttl=SECOND)
    clock.advance(1)
    assert await memstore.get("k") is None
    assert not await memstore.exists("k")
    assert await memstore.ttl("k") is None
    assert not await memstore.expire("k", SECOND)
    assert await memstore.persist("k") is Persisted.NO_KEY
    assert not await memstore.delete("k")
    assert await memstore.get_many(["k"]) == [None]
    assert await memstore.delete_many(["k"]) == [False]
    assert (await memstore.scan()).keys == []
    with pytest.raises(VersionConflict):
        await memstore.compare_and_set("k", b"8", expected=version)
    with pytest.raises(VersionConflict):
        await memstore.compare_and_delete("k", expected=version)
    assert (await memstore.increment("k")).value == 1
    assert await memstore.ttl("k") == Lifetime()


async def test_an_expired_key_can_be_written_if_absent(memstore: Memstore, clock: Clock) -> None:
    await memstore.set("k", b"1", ttl=SECOND)
    clock.advance(1)
    await memstore.compare_and_set("k", b"2", expected=None)
    clock.advance(100)
    assert await memstore.exists("k")


async def test_a_key_lives_until_its_deadline(memstore: Memstore, clock: Clock) -> None:
    await memstore.set("k", b"", ttl=SECOND)
    clock.advance(0.9990234375)
    assert await memstore.exists("k")
    assert await memstore.ttl("k") == Lifetime(timedelta(milliseconds=1))


async def test_a_ttl_below_a_millisecond_is_rounded_up(memstore: Memstore, clock: Clock) -> None:
    await memstore.set("k", b"", ttl=timedelta(microseconds=1))
    assert await memstore.ttl("k") == Lifetime(timedelta(milliseconds=1))
    clock.advance(0.001953125)
    assert not await memstore.exists("k")


async def test_expired_keys_are_dropped_without_a_read(memstore: Memstore, clock: Clock) -> None:
    for i in range(1000):
        await memstore.set(f"short {i}", b"", ttl=SECOND)
        await memstore.set(f"long {i}", b"", ttl=SECOND * 100_000)
    clock.advance(100_001)
    await until_empty(memstore)
    assert (await memstore.health()).details["bytes"] == "0"
    assert (await memstore.scan()).keys == []


async def test_a_sweep_keeps_keys_with_a_later_deadline_or_none(
    memstore: Memstore, clock: Clock
) -> None:
    for key in ("expired", "re-expired", "persisted", "overwritten", "counted"):
        await memstore.set(key, b"1", ttl=SECOND)
    await memstore.expire("re-expired", SECOND * 1000)
    await memstore.persist("persisted")
    await memstore.set("overwritten", b"2")
    await memstore.increment("counted")
    clock.advance(2)
    async with asyncio.timeout(30):
        while (await memstore.health()).details["keys"] != "3":
            await asyncio.sleep(0.01)
    assert (await memstore.scan()).keys == ["overwritten", "persisted", "re-expired"]


async def test_no_sweep_is_scheduled_while_no_key_has_a_ttl(
    memstore: Memstore, clock: Clock
) -> None:
    sweeper = memstore._sweeper
    await memstore.set("k", b"")
    assert sweeper._timer is None
    await memstore.set("k", b"", ttl=SECOND)
    assert sweeper._timer is not None
    clock.advance(2)
    await until_empty(memstore)
    async with asyncio.timeout(30):
        while sweeper._timer is not None:
            await asyncio.sleep(0.01)


async def test_a_key_written_before_its_removal_from_the_index_is_found(
    memstore: Memstore, clock: Clock
) -> None:
    store = memstore._store
    await memstore.set("k", b"1", ttl=SECOND)
    clock.advance(2)
    store._drop_due(store._wheel.take_due(1000))
    assert store.keys == 0
    await memstore.set("k", b"2")
    assert not store.sweep(1.0)
    assert (await memstore.scan()).keys == ["k"]


async def test_an_expired_key_leaves_the_index_too(memstore: Memstore, clock: Clock) -> None:
    store = memstore._store
    await memstore.set("expired", b"", ttl=SECOND)
    await memstore.set("stays", b"")
    clock.advance(2)
    assert not store.sweep(1.0)
    assert list(store.index.since("")) == ["stays"]


async def test_a_sweep_rests_while_no_key_is_due(memstore: Memstore, clock: Clock) -> None:
    await memstore.set("k", b"", ttl=SECOND)
    clock.advance(0.5)
    assert not memstore._store.sweep(0.01)
