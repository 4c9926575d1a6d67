"""Files that cannot be used: the error says why, and the file stays as it was."""

# ruff: noqa: ASYNC240, since the files are small and local.

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.sqlite import Sqlite, SqliteSettings
from prism.adapters.sqlite.schema import APPLICATION_ID
from prism.ports import (
    BackendUnavailable,
    Entry,
    InvalidArgument,
    PreconditionFailed,
    PrismError,
)
from prism.testing import Level
from prism.testing.suite.resources import Resources
from tests.unit.sqlite.conftest import Open, plain


async def refusal(open_sqlite: Open, **settings: object) -> PrismError:
    with pytest.raises(PrismError) as refused:
        await open_sqlite(**settings)
    return refused.value


async def test_an_absent_folder_is_named(open_sqlite: Open, tmp_path: Path) -> None:
    path = tmp_path / "absent" / "prism.db"
    error = await refusal(open_sqlite, path=path)
    assert isinstance(error, InvalidArgument)
    assert str(path) in error.message
    assert "create it" in error.message


async def test_a_folder_is_no_file(open_sqlite: Open, tmp_path: Path) -> None:
    error = await refusal(open_sqlite, path=tmp_path)
    assert isinstance(error, BackendUnavailable)
    assert "check that it is a file" in error.message


def test_memory_is_refused_because_two_connections_would_see_two_stores() -> None:
    with pytest.raises(InvalidArgument, match="use the driver memstore"):
        SqliteSettings(path=Path(":memory:"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("lock_timeout", timedelta(seconds=-1)), ("max_bytes", -1), ("max_value_bytes", 0)],
)
async def test_a_setting_out_of_range_is_named(
    open_sqlite: Open, setting: str, value: object
) -> None:
    error = await refusal(open_sqlite, **{setting: value})
    assert isinstance(error, InvalidArgument)
    assert setting in error.message


def of_another_program(path: Path) -> None:
    with plain(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def marked_by_another_program(path: Path) -> None:
    with plain(path) as connection:
        connection.execute("PRAGMA application_id = 7")


def from_a_later_release(path: Path) -> None:
    with plain(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 99")


def with_another_encoding(path: Path) -> None:
    with plain(path) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16'")
        connection.execute("CREATE TABLE gone (x)")
        connection.execute("DROP TABLE gone")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def text(path: Path) -> None:
    path.write_text("This is no database, though it is long enough to hold a header.\n" * 100)


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (text, "NOT_A_DATABASE", "is not an SQLite database: choose another file"),
        (of_another_program, "NOT_OURS", "a database of another program"),
        (marked_by_another_program, "NOT_OURS", "a database of another program"),
        (from_a_later_release, "NEWER_SCHEMA", "has version 99 of the schema"),
        (with_another_encoding, "NOT_OURS", "stores text as UTF-16"),
    ],
)
async def test_the_file_of_something_else_is_refused_and_left_alone(
    open_sqlite: Open, path: Path, make: Callable[[Path], None], reason: str, words: str
) -> None:
    make(path)
    before = path.read_bytes()
    error = await refusal(open_sqlite)
    assert isinstance(error, PreconditionFailed)
    assert error.reason == reason
    assert str(path) in error.message
    assert words in error.message
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == [path]


async def test_a_file_that_was_only_marked_gets_its_tables(open_sqlite: Open, path: Path) -> None:
    with plain(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    driver = await open_sqlite()
    version = await driver.set("key", b"value")
    assert await driver.get("key") == Entry(b"value", version)


async def test_concurrent_drivers_create_the_tables_once(open_sqlite: Open) -> None:
    drivers = await asyncio.gather(*(open_sqlite() for _ in range(4)))
    await asyncio.gather(*(driver.set(f"{n}", b"") for n, driver in enumerate(drivers)))
    assert (await drivers[0].scan()).keys == ["0", "1", "2", "3"]


async def test_a_file_that_another_program_locks_is_reported_after_the_timeout(
    open_sqlite: Open, path: Path
) -> None:
    await (await open_sqlite()).stop()
    with plain(path) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        error = await refusal(open_sqlite, lock_timeout=timedelta(milliseconds=20))
        assert isinstance(error, BackendUnavailable)
        assert error.reason == "LOCKED"
    await open_sqlite()


async def test_initialize_works_after_it_failed(open_sqlite: Open, path: Path) -> None:
    text(path)
    await refusal(open_sqlite)
    path.unlink()
    await (await open_sqlite()).set("key", b"value")


@pytest.fixture
def unclosed(monkeypatch: pytest.MonkeyPatch) -> set[sqlite3.Connection]:
    """Connections to SQLite files that nobody has closed."""
    unclosed: set[sqlite3.Connection] = set()
    connect = sqlite3.connect

    class Seen(sqlite3.Connection):
        def close(self) -> None:
            super().close()
            unclosed.discard(self)

    def connect_seen(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options, factory=Seen)
        unclosed.add(connection)
        return connection

    monkeypatch.setattr("prism.adapters.sqlite.schema.sqlite3.connect", connect_seen)
    return unclosed


async def test_a_file_that_is_refused_is_closed(
    open_sqlite: Open, path: Path, unclosed: set[sqlite3.Connection]
) -> None:
    path.write_bytes(b"This is no database. " * 100)
    await refusal(open_sqlite)
    assert not unclosed


async def test_a_file_whose_opening_is_cancelled_is_closed(
    path: Path, unclosed: set[sqlite3.Connection]
) -> None:
    with plain(path) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        opening = asyncio.create_task(Sqlite().initialize(SqliteSettings(path=path)))
        async with asyncio.timeout(30):
            while unclosed == {connection}:
                await asyncio.sleep(0.001)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            connection.execute("ROLLBACK")
            while unclosed != {connection}:
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1), ("off", 0)])
async def test_synchronous_is_what_sqlite_is_told(
    open_sqlite: Open, synchronous: str, level: int
) -> None:
    driver = await open_sqlite(synchronous=synchronous)
    connection: sqlite3.Connection = driver._writer._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_the_health_has_the_size_and_its_limit(open_sqlite: Open) -> None:
    driver = await open_sqlite(max_bytes=1_000_000)
    await driver.set("key", bytes(10_000))
    details = (await driver.health()).details
    assert details["max_bytes"] == "1000000"
    assert 0 < int(details["bytes"]) <= 1_000_000
    assert int(details["log_bytes"]) > 10_000
    assert details["sqlite_version"] == sqlite3.sqlite_version
    unlimited = await open_sqlite()
    assert (await unlimited.health()).details["max_bytes"] == "unlimited"


async def test_drivers_of_one_process_leave_no_more_descriptors_each_time(
    open_sqlite: Open, driver: Sqlite
) -> None:
    async def open_and_stop(readers: int) -> int:
        other = await open_sqlite()
        await asyncio.gather(*(other.scan() for _ in range(readers)))
        await other.stop()
        return Resources.of(Level.IN_PROCESS).descriptors.total()

    # SQLite keeps the descriptors of closed connections while `driver` has the file open.
    first = await open_and_stop(1)
    assert await open_and_stop(4) == first
