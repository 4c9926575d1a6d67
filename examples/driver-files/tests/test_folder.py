"""What the acceptance suite cannot know of a folder: durability, sharing, and its errors."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
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
)
from prism_driver_files import FilesDriver, FilesSettings
from prism_driver_files import driver as module
from prism_driver_files.folder import MARK


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[FilesDriver]:
    driver = FilesDriver()
    try:
        await driver.initialize(FilesSettings(path=path))
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


async def test_two_drivers_share_a_folder(path: Path) -> None:
    async with opened(path) as one, opened(path) as other:
        await asyncio.gather(*(d.set(f"{n}", b"") for n in range(20) for d in (one, other)))
        for number in range(20):
            await one.set("key", b"%d" % number)
            entry = await other.get("key")
            assert entry is not None
            assert entry.value == b"%d" % number


async def test_expired_files_are_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PURGE_INTERVAL_SECONDS", 0.01)
    async with opened(path) as driver:
        await driver.set("goes", b"value", ttl=timedelta(milliseconds=1))
        await driver.set("stays", b"value")
        async with asyncio.timeout(30):
            while (await driver.health()).details["keys"] != "1":
                await asyncio.sleep(0.01)
        assert await driver.exists("stays")


async def test_what_a_killed_writer_left_is_removed(path: Path) -> None:
    (path / "0123.part").write_bytes(b"half of a val")
    async with opened(path):
        assert [file.name for file in path.iterdir()] == [MARK]


async def test_an_absent_folder_is_named(path: Path) -> None:
    with pytest.raises(InvalidArgument, match="create it") as refusal:
        async with opened(path / "absent"):
            pass
    assert str(path / "absent") in refusal.value.message


async def test_a_folder_that_is_away_is_not_taken_for_an_empty_one(path: Path) -> None:
    async with opened(path) as driver:
        await driver.set("key", b"value")
        (path / MARK).rename(path / "elsewhere")
        with pytest.raises(BackendUnavailable, match="is its disk mounted"):
            await driver.get("absent")
        with pytest.raises(BackendUnavailable) as refusal:
            await driver.set("key", b"value")
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert (await driver.health()).status is HealthStatus.UNHEALTHY


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, Exhausted),
        (errno.EROFS, AccessDenied),
        (errno.EIO, BackendUnavailable),
    ],
)
async def test_an_error_of_the_disk_is_translated(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[PrismError]
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number), str(path))

    async with opened(path) as driver:
        await driver.set("key", b"old")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(error):
                await driver.set("key", b"new")
        entry = await driver.get("key")
        assert entry is not None
        assert entry.value == b"old"


async def test_a_damaged_file_is_named(path: Path) -> None:
    async with opened(path) as driver:
        await driver.set("key", b"value")
        (file,) = (file for file in path.iterdir() if file.name != MARK)
        file.write_bytes(b"no header\n")
        with pytest.raises(Internal, match="is damaged") as refusal:
            await driver.get("key")
        assert refusal.value.reason == "CORRUPT"


async def test_a_file_is_readable_by_other_programs(path: Path) -> None:
    async with opened(path) as driver:
        await driver.set("key", b"the value\n")
        (file,) = (file for file in path.iterdir() if file.name != MARK)
        assert file.read_bytes() == b'{"key": "key", "expires_at_ms": null}\nthe value\n'


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """Run the package's main module in a process; yield the process and its address."""
    socket = path / "prism.sock"
    keys = path / "keys"
    keys.mkdir(exist_ok=True)
    flags = ("--files-path", str(keys), "--grpc-socket", str(socket), "--no-metrics")
    process = subprocess.Popen(
        [sys.executable, "-m", "prism_driver_files", *flags],
        stderr=subprocess.PIPE,
        text=True,
        cwd=path,
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
            while len(acknowledged) < 200:
                await asyncio.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        for ended in await asyncio.gather(*writers, return_exceptions=True):
            assert isinstance(ended, PrismError)
    (path / "prism.sock").unlink(missing_ok=True)
    async with served(path) as (_, address), prism.connect(address) as kv:
        for key in acknowledged:
            entry = await kv.get(key)
            assert entry is not None, key
            assert entry.value == key.encode()
