"""What was acknowledged is there after a kill, a restart, and a disk that takes no more."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import prism
from prism.ports import Outcome, PrismError
from tests.integration.conftest import Server

KILLS = 100
SERVED_KILLS = 3
WRITERS = 32

pytestmark = pytest.mark.slow


def test_no_acknowledged_write_is_lost_when_the_driver_is_killed_a_hundred_times(
    path: Path,
) -> None:
    program = Path(__file__).with_name("writes_until_killed.py")
    done = subprocess.run(
        [sys.executable, str(program), str(path), str(KILLS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] == KILLS
    assert counts["acknowledged"] > KILLS


async def test_no_acknowledged_write_is_lost_when_a_server_is_killed(
    path: Path, serve: Callable[..., Server]
) -> None:
    acknowledged: dict[str, bytes] = {}

    async def write(kv: prism.Client, writer: str) -> None:
        number = 0
        while True:
            key = f"{writer}/{number}"
            await kv.set(key, key.encode())
            acknowledged[key] = key.encode()
            number += 1

    for kill in range(SERVED_KILLS):
        server = serve().serving()
        async with prism.connect(server.address, retry=False) as kv:
            before = len(acknowledged)
            writers = [asyncio.create_task(write(kv, f"{kill}/{n}")) for n in range(WRITERS)]
            async with asyncio.timeout(30):
                while len(acknowledged) < before + 500:
                    await asyncio.sleep(0.001)
            server.process.kill()
            for ended in await asyncio.gather(*writers, return_exceptions=True):
                assert isinstance(ended, PrismError)
                assert ended.outcome in (Outcome.UNKNOWN, Outcome.NOT_APPLIED)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        there = dict(connection.execute("SELECT key, value FROM kv"))
    assert acknowledged.items() <= there.items()


async def test_a_restart_keeps_keys_versions_and_expiries(
    path: Path, serve: Callable[..., Server]
) -> None:
    server = serve().serving()
    async with prism.connect(server.address) as kv:
        await kv.set("key", b"value", ttl=timedelta(hours=1))
        before = await kv.get("key")
    server.stop()
    async with prism.connect(serve().serving().address) as kv:
        assert await kv.get("key") == before
        assert before is not None
        assert before.expires_at_ms is not None


def test_a_server_on_a_file_that_is_no_database_says_so_and_ends(
    path: Path, serve: Callable[..., Server]
) -> None:
    path.write_text("notes, long enough to be taken for the header of a database" * 100)
    server = serve()
    server.wait_for("")
    assert server.wait() != 0
    assert "is not an SQLite database: choose another file" in server.log
    assert "Traceback" not in server.log


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from prism.adapters.sqlite import Sqlite, SqliteSettings
from prism.ports import BackendUnavailable, Exhausted, HealthStatus, Outcome

async def main():
    driver = Sqlite()
    await driver.initialize(SqliteSettings(path=Path(sys.argv[1])))
    await driver.start()
    await driver.set("key", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    written = await asyncio.gather(
        *(driver.set(f"{n}", bytes(1000)) for n in range(500)), return_exceptions=True
    )
    refused = [each for each in written if isinstance(each, (BackendUnavailable, Exhausted))]
    assert refused, written[:3]
    assert {each.outcome for each in refused} <= {Outcome.NOT_APPLIED, Outcome.UNKNOWN}
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        await driver.set("key", b"lost")
    except (BackendUnavailable, Exhausted):
        pass
    health = await driver.health()
    assert health.status is HealthStatus.DEGRADED, health
    assert (await driver.get("key")).value == b"old"
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await driver.set("key", b"new")
    assert (await driver.health()).status is HealthStatus.HEALTHY
    for n, each in enumerate(written):
        is_there = await driver.exists(f"{n}")
        if isinstance(each, int):
            assert is_there, n
        elif each.outcome is Outcome.NOT_APPLIED:
            assert not is_there, n
    await driver.stop()

asyncio.run(main())
"""


def test_a_disk_that_takes_no_more_fails_writes_and_loses_nothing(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from prism.adapters.sqlite import Sqlite, SqliteSettings
from prism.ports import AccessDenied

if os.getuid() == 0:
    os.setuid(65534)
path = Path(sys.argv[1])
try:
    asyncio.run(Sqlite().initialize(SqliteSettings(path=path)))
except AccessDenied as error:
    assert str(path) in error.message
    assert "cannot be written" in error.message
else:
    raise SystemExit("a file that cannot be written was opened")
"""


def test_a_file_without_write_permission_is_refused(
    path: Path, serve: Callable[..., Server]
) -> None:
    serve().serving().stop()
    path.chmod(0o444)
    # Another user has to reach the file.
    for folder in (path.parent, *path.parent.parents):
        if folder.owner() == Path.home().owner() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == before


async def test_a_backup_of_a_server_can_be_served(
    path: Path, serve: Callable[..., Server], start_server: Callable[..., Server]
) -> None:
    prism_command = [sys.executable, "-m", "prism.cli"]
    server = serve().serving()
    copy, restored = path.with_name("copy.db"), path.with_name("restored.db")
    async with prism.connect(server.address) as kv:
        version = await kv.set("key", b"value")
        for command in (
            ("backup", str(copy), "--sqlite-path", str(path)),
            ("restore", str(copy), "--sqlite-path", str(restored)),
        ):
            done = await asyncio.to_thread(
                subprocess.run, [*prism_command, *command, "--json"], capture_output=True
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["keys"] == 1
    other = start_server("--driver", "sqlite", "--sqlite-path", str(restored)).serving()
    async with prism.connect(other.address) as kv:
        entry = await kv.get("key")
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)
