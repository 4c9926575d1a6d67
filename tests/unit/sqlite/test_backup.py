"""A backup is one consistent state of a file in use, and a restore starts from it."""

# ruff: noqa: ASYNC240, since the files are small and local.

from __future__ import annotations

import asyncio
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from prism.adapters.sqlite import Sqlite
from prism.adapters.sqlite.backup import back_up, restore
from prism.ports import Internal, InvalidArgument, PreconditionFailed, Put
from tests.unit.sqlite.conftest import Open, plain


async def test_a_restored_file_has_the_keys_of_the_backup(
    driver: Sqlite, path: Path, open_sqlite: Open
) -> None:
    await driver.set_many([Put(f"{n}", b"%d" % n) for n in range(500)])
    await driver.set("expires", b"", ttl=timedelta(hours=1))
    before = await driver.get_many([*map(str, range(500)), "expires"])
    copy = path.with_name("copy.db")
    copied = await asyncio.to_thread(back_up, path, copy)
    assert copied.keys == 501
    assert copied.bytes == copy.stat().st_size
    await driver.set("0", b"after the backup")
    restored = path.with_name("restored.db")
    assert restore(copy, restored).keys == 501
    other = await open_sqlite(path=restored)
    assert await other.get_many([*map(str, range(500)), "expires"]) == before
    assert sorted(file.name for file in path.parent.glob("*.part*")) == []


async def test_versions_after_a_restore_are_new(
    driver: Sqlite, path: Path, open_sqlite: Open
) -> None:
    await driver.set("key", b"1")
    copy, restored = path.with_name("copy.db"), path.with_name("restored.db")
    back_up(path, copy)
    lost = {await driver.set("key", b"%d" % n) for n in range(100)}
    restore(copy, restored)
    other = await open_sqlite(path=restored)
    assert not lost & {await other.set("key", b"%d" % n) for n in range(200)}


async def test_a_backup_under_load_is_consistent(driver: Sqlite, path: Path) -> None:
    copies = [path.with_name(f"copy{n}.db") for n in range(3)]
    stop = asyncio.Event()

    async def write_in_order() -> None:
        number = 0
        while not stop.is_set():
            # Of two keys the first is written first: no moment has the second without it.
            await driver.set(f"a{number}", bytes(200))
            await driver.set(f"b{number}", bytes(200))
            number += 1

    writing = asyncio.create_task(write_in_order())
    for copy in copies:
        written = await driver.increment("rounds")
        await asyncio.to_thread(back_up, path, copy)
        with plain(copy) as connection:
            keys = {key for (key,) in connection.execute("SELECT key FROM kv")}
            (rounds,) = connection.execute("SELECT value FROM kv WHERE key = 'rounds'").fetchone()
        assert rounds == b"%d" % written.value
        assert {f"a{key[1:]}" for key in keys if key.startswith("b")} <= keys
    stop.set()
    await writing


async def test_a_backup_carries_no_watches(driver: Sqlite, path: Path) -> None:
    async with driver.watch():
        copy = path.with_name("copy.db")
        back_up(path, copy)
    with plain(copy) as connection:
        assert connection.execute("SELECT count(*) FROM watching").fetchone() == (0,)


async def test_nothing_is_overwritten(driver: Sqlite, path: Path) -> None:
    await driver.set("key", b"value")
    before = path.read_bytes()
    for copy in (back_up, restore):
        with pytest.raises(PreconditionFailed, match=r"exists|is left of"):
            copy(path, path)
    assert path.read_bytes() == before


async def test_a_log_that_is_left_of_another_database_is_refused(
    driver: Sqlite, path: Path
) -> None:
    copy, restored = path.with_name("copy.db"), path.with_name("restored.db")
    back_up(path, copy)
    path.with_name("restored.db-wal").write_bytes(b"old")
    with pytest.raises(PreconditionFailed, match="is left of an earlier database"):
        restore(copy, restored)
    assert not restored.exists()


async def test_files_that_cannot_be_used_are_named(driver: Sqlite, path: Path) -> None:
    absent, text, copy = (path.with_name(name) for name in ("absent.db", "text", "copy.db"))
    text.write_text("no database, but long enough to hold a header of one" * 100)
    other = path.with_name("other.db")
    with plain(other) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(InvalidArgument, match="there is no file"):
        back_up(absent, copy)
    with pytest.raises(PreconditionFailed, match="not an SQLite database"):
        back_up(text, copy)
    with pytest.raises(PreconditionFailed, match="not written by the SQLite driver"):
        back_up(other, copy)
    with pytest.raises(InvalidArgument, match="create it"):
        back_up(path, path.with_name("absent") / "copy.db")
    assert not copy.exists()


async def test_a_damaged_file_gives_no_backup(open_sqlite: Open, path: Path) -> None:
    driver = await open_sqlite()
    await driver.set_many([Put(f"{n:05}", bytes(100)) for n in range(1000)])
    await driver.stop()
    content = bytearray(path.read_bytes())
    content[8 * 4096 : 9 * 4096] = b"\xee" * 4096
    path.write_bytes(content)
    copy = path.with_name("copy.db")
    with pytest.raises(Internal, match="is damaged"):
        back_up(path, copy)
    assert not copy.exists()


async def test_a_backup_has_the_permissions_of_any_new_file(driver: Sqlite, path: Path) -> None:
    copy = path.with_name("copy.db")
    mask = os.umask(0o077)
    try:
        back_up(path, copy)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_a_backup_is_on_the_disk_before_it_has_its_name(
    driver: Sqlite, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = path.with_name("copy.db")
    synced: list[tuple[int, bool]] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, copy.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await driver.set("key", b"value")
    await asyncio.to_thread(back_up, path, copy)
    assert synced == [(copy.stat().st_ino, False), (path.parent.stat().st_ino, True)]
