"""What the acceptance suite cannot know of SQLite: durability, sharing, and its errors."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import prism
from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Exhausted,
    HealthStatus,
    Internal,
    InvalidArgument,
    Outcome,
    PrismError,
    VersionConflict,
)
from prism_driver_sqlite import SqliteDriver, SqliteSettings
from prism_driver_sqlite.database import Connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@asynccontextmanager
async def opened(path: Path, **settings: object) -> AsyncIterator[SqliteDriver]:
    driver = SqliteDriver()
    try:
        await driver.initialize(SqliteSettings(path=path, **settings))  # type: ignore[arg-type]
        await driver.start()
        yield driver
    finally:
        await driver.stop()


async def test_a_restart_keeps_values_versions_and_ttls(path: Path) -> None:
    async with opened(path) as driver:
        version = await driver.set("key", b"value", ttl=timedelta(hours=1))
    async with opened(path) as driver:
        entry = await driver.get("key")
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)
        assert entry.expires_at_ms is not None


async def test_a_version_is_not_repeated_after_a_delete_and_a_restart(path: Path) -> None:
    async with opened(path) as driver:
        old = await driver.set("key", b"value")
        await driver.delete("key")
    async with opened(path) as driver:
        await driver.set("key", b"value")
        with pytest.raises(VersionConflict):
            await driver.compare_and_set("key", b"other", expected=old)


async def test_two_drivers_share_a_file(path: Path) -> None:
    async with opened(path) as one, opened(path) as other:
        await asyncio.gather(*(d.increment("n") for d in (one, other) for _ in range(50)))
        assert (await one.increment("n", 0)).value == 100
        await one.set("key", b"value")
        assert await other.exists("key") is True


async def test_concurrent_drivers_create_the_file_once(path: Path) -> None:
    async def open_and_write(number: int) -> None:
        async with opened(path) as driver:
            await driver.set(str(number), b"value")

    await asyncio.gather(*(open_and_write(number) for number in range(8)))
    async with opened(path) as driver:
        assert len((await driver.scan()).keys) == 8


async def test_a_lock_of_another_process_is_reported_after_the_timeout(path: Path) -> None:
    async with opened(path, busy_timeout=timedelta(milliseconds=50)) as driver:
        await driver.set("key", b"old")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(BackendUnavailable, match="locked") as refusal:
                await driver.set("key", b"new")
            assert refusal.value.outcome is Outcome.NOT_APPLIED
            # Readers do not wait for writers.
            entry = await driver.get("key")
            assert entry is not None
            assert entry.value == b"old"
        finally:
            other.close()
        await driver.set("key", b"new")


async def test_a_full_file_refuses_a_write_and_keeps_working(path: Path) -> None:
    async with opened(path, max_bytes=100_000) as driver:
        await driver.set("key", b"old")
        with pytest.raises(Exhausted) as refusal:
            await driver.set("key", bytes(200_000))
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        entry = await driver.get("key")
        assert entry is not None
        assert entry.value == b"old"
        await driver.set("key", b"new")


async def test_expired_keys_are_deleted_from_the_file(path: Path) -> None:
    async with opened(path) as driver:
        for number in range(10):
            await driver.set(str(number), b"value", ttl=timedelta(milliseconds=1))
        other = sqlite3.connect(path)
        try:
            async with asyncio.timeout(30):
                while other.execute("SELECT count(*) FROM entries").fetchone() != (0,):
                    await asyncio.sleep(0.01)
        finally:
            other.close()


async def test_cancelling_a_write_leaves_the_driver_usable(path: Path) -> None:
    async with opened(path) as driver:
        write = asyncio.create_task(driver.set("key", b"value"))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        await driver.set("key", b"later")
        entry = await driver.get("key")
        assert entry is not None
        assert entry.value == b"later"


async def initialize_error(path: Path) -> PrismError:
    with pytest.raises(PrismError) as refusal:
        async with opened(path):
            pass
    return refusal.value


async def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    error = await initialize_error(tmp_path / "absent" / "keys.db")
    assert isinstance(error, BackendUnavailable)
    assert str(tmp_path / "absent" / "keys.db") in error.message


async def test_a_file_that_is_not_a_database_is_left_unchanged(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    before = path.read_bytes()
    error = await initialize_error(path)
    assert isinstance(error, Internal)
    assert error.reason == "CORRUPT"
    assert path.read_bytes() == before


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    error = await initialize_error(path)
    assert isinstance(error, InvalidArgument)
    assert "another program" in error.message


async def test_a_read_only_file_is_an_access_error(path: Path) -> None:
    async with opened(path):
        reader = Connection(path, timedelta())
        await reader.open_reader()
        try:
            with pytest.raises(AccessDenied, match="may not be written"):
                await reader.write(lambda table: table.put("key", b"value", None))
        finally:
            await reader.close()


async def test_health_reports_the_size(path: Path) -> None:
    async with opened(path) as driver:
        health = await driver.health()
        assert health.status is HealthStatus.HEALTHY
        assert int(health.details["bytes"]) > 0


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """Run the package's main module in a process; yield the process and its address."""
    socket = path.with_suffix(".sock")
    flags = ("--sqlite-path", str(path), "--grpc-socket", str(socket), "--no-metrics")
    process = subprocess.Popen(
        [sys.executable, "-m", "prism_driver_sqlite", *flags],
        stderr=subprocess.PIPE,
        text=True,
        cwd=path.parent,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if '"message": "serving"' in line:
                break
        yield process, f"unix:{socket}"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def test_every_acknowledged_write_survives_a_kill(path: Path) -> None:
    acknowledged: list[str] = []

    async def write(kv: prism.Client, writer: int) -> None:
        for number in range(1_000_000):
            key = f"{writer}/{number}"
            await kv.set(key, key.encode())
            acknowledged.append(key)

    async with served(path) as (process, address), prism.connect(address) as kv:
        writers = [asyncio.create_task(write(kv, writer)) for writer in range(8)]
        async with asyncio.timeout(30):
            while len(acknowledged) < 500:
                await asyncio.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        for ended in await asyncio.gather(*writers, return_exceptions=True):
            assert isinstance(ended, PrismError)
    path.with_suffix(".sock").unlink(missing_ok=True)
    async with served(path) as (_, address), prism.connect(address) as kv:
        for key in acknowledged:
            entry = await kv.get(key)
            assert entry is not None, key
            assert entry.value == key.encode()
