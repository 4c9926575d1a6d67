"""Drivers that share a file; each behaves like a process of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from prism.adapters.sqlite import Sqlite, changes
from prism.adapters.sqlite.table import clock_ms
from prism.ports import Change, Event, Version, WatchEnded
from tests.unit.sqlite.conftest import Open, plain


async def rows(path: Path, table: str) -> int:
    with plain(path) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)


async def test_increments_of_two_drivers_are_all_counted(open_sqlite: Open) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    await asyncio.gather(*(each.increment("n") for each in (one, other) for _ in range(100)))
    assert (await one.increment("n", 0)).value == 200


async def test_a_write_is_visible_through_the_other_driver_at_once(open_sqlite: Open) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    for number in range(50):
        await one.set("key", b"%d" % number)
        entry = await other.get("key")
        assert entry is not None
        assert entry.value == b"%d" % number


async def test_a_watch_reports_the_writes_of_both_in_the_order_of_their_versions(
    open_sqlite: Open,
) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    async with one.watch("k") as events, asyncio.timeout(30):
        written = [await driver.set("k", b"%d" % n) for n in range(30) for driver in (other, one)]
        reported = [await anext(events) for _ in written]
    assert [event.version for event in reported] == written
    assert written == sorted(written)


async def test_a_watch_reports_deletes_and_expiries_of_the_other(open_sqlite: Open) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    async with one.watch("k") as events, asyncio.timeout(30):
        first = await other.set("k", b"")
        await other.delete("k")
        second = await other.set("k", b"1", ttl=timedelta(milliseconds=20))
        assert [await anext(events) for _ in range(4)] == [
            Event(Change.PUT, "k", b"", first),
            Event(Change.DELETE, "k"),
            Event(Change.PUT, "k", b"1", second),
            Event(Change.EXPIRE, "k"),
        ]


async def test_changes_are_recorded_only_while_another_process_watches(
    open_sqlite: Open, path: Path
) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    await other.set("key", b"1")
    assert await rows(path, "changes") == 0
    async with one.watch():
        await one.set("key", b"2")
        assert await rows(path, "changes") == 0
        await other.set("key", b"3")
        assert await rows(path, "changes") == 1
    async with asyncio.timeout(30):
        while await rows(path, "watching") or await rows(path, "changes"):
            await asyncio.sleep(0.01)


async def test_changes_that_were_read_are_dropped(
    open_sqlite: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "RENEW_MS", 50)
    one, other = await open_sqlite(), await open_sqlite()
    async with one.watch(), asyncio.timeout(30):
        await other.set("key", b"1")
        while await rows(path, "changes"):
            await asyncio.sleep(0.01)
        assert await rows(path, "watching") == 1


async def test_a_process_that_stood_still_loses_its_watches_with_the_reason(
    open_sqlite: Open, path: Path
) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    async with one.watch() as events, asyncio.timeout(30):
        with plain(path) as connection:
            connection.execute("UPDATE watching SET until_ms = ?", (clock_ms() - 1,))
        await other.set("key", b"1")
        with pytest.raises(WatchEnded, match="stood still"):
            await anext(events)
    async with one.watch() as events, asyncio.timeout(30):
        version = await other.set("key", b"2")
        assert await anext(events) == Event(Change.PUT, "key", b"2", version)


async def test_a_watch_after_the_last_one_ended_misses_nothing(open_sqlite: Open) -> None:
    one, other = await open_sqlite(), await open_sqlite()
    for number in range(10):
        async with one.watch() as events, asyncio.timeout(30):
            version = await other.set("key", b"%d" % number)
            assert await anext(events) == Event(Change.PUT, "key", b"%d" % number, version)
        # The lease is given up at some moment in between.
        await asyncio.sleep(0.01 * number)


async def test_both_watch(open_sqlite: Open) -> None:
    drivers = await open_sqlite(), await open_sqlite()
    async with drivers[0].watch() as first, drivers[1].watch() as second, asyncio.timeout(30):
        for driver in drivers:
            version = await driver.set("key", b"value")
            for events in (first, second):
                assert await anext(events) == Event(Change.PUT, "key", b"value", version)


async def test_a_rolled_back_transaction_loses_no_change_of_the_other(
    open_sqlite: Open,
) -> None:
    one, other = await open_sqlite(max_bytes=200_000), await open_sqlite()
    async with one.watch("k") as events, asyncio.timeout(30):
        expected: list[Version] = []
        for number in range(10):
            expected.append(await other.set("k", b"%d" % number))
            await asyncio.gather(one.set("x", bytes(500_000)), return_exceptions=True)
        assert [(await anext(events)).version for _ in expected] == expected


async def test_stop_gives_up_the_lease(open_sqlite: Open, path: Path) -> None:
    one: Sqlite = await open_sqlite()
    other = await open_sqlite()
    async with one.watch():
        assert await rows(path, "watching") == 1
        await one.stop()
    assert await rows(path, "watching") == 0
    await other.set("key", b"value")
    assert await rows(path, "changes") == 0
