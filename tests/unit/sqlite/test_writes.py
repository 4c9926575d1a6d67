"""Group commit: one transaction for writes that begin together, and the error of each."""

# ruff: noqa: ASYNC240, since the files are small and local.

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.sqlite import Sqlite
from prism.ports import (
    BackendUnavailable,
    Condition,
    Delete,
    Exhausted,
    HealthStatus,
    Internal,
    Outcome,
    Presence,
    Put,
    VersionConflict,
)
from tests.unit.sqlite.conftest import Open, plain


def count_commits(driver: Sqlite) -> list[str]:
    commits: list[str] = []
    driver._writer._connection.set_trace_callback(
        lambda statement: commits.append(statement) if statement == "COMMIT" else None
    )
    return commits


class FailingConnection:
    """Connection whose statements of one kind fail as if the disk did."""

    def __init__(self, inner: sqlite3.Connection, statement: str, code: int) -> None:
        self._inner, self._statement, self._code = inner, statement, code

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        if statement == self._statement:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._inner.execute(statement, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_writes_of_one_iteration_are_one_transaction(driver: Sqlite) -> None:
    commits = count_commits(driver)
    versions = await asyncio.gather(*(driver.set(f"{n}", b"value") for n in range(64)))
    assert len(set(versions)) == 64
    assert len(commits) == 1


async def test_a_batch_is_one_transaction(driver: Sqlite) -> None:
    commits = count_commits(driver)
    await driver.set_many([Put(f"{n}", b"value") for n in range(500)])
    assert len(commits) == 1


async def test_the_bytes_of_batches_limit_a_transaction(
    driver: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.adapters.sqlite.writer.MAX_GROUP_BYTES", 1000)
    commits = count_commits(driver)
    await asyncio.gather(*(driver.set_many([Put(f"{n}", bytes(600))]) for n in range(3)))
    # The second batch exceeds the limit, and the third is in the next transaction.
    assert len(commits) == 2


async def test_a_refused_write_fails_alone(driver: Sqlite) -> None:
    outcomes = await asyncio.gather(
        driver.set("a", b"1"),
        driver.compare_and_set("b", b"2", expected=None),
        driver.compare_and_set("b", b"3", expected=None),
        driver.increment("a"),
        return_exceptions=True,
    )
    assert isinstance(outcomes[2], VersionConflict)
    assert [type(outcome) for outcome in outcomes].count(VersionConflict) == 1
    assert (await driver.increment("a", 0)).value == 2


async def test_a_transaction_that_fails_half_way_undoes_its_writes_alone(
    driver: Sqlite, path: Path
) -> None:
    writer = driver._writer
    refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON entries WHEN new.key = 'bad' BEGIN"
    writer._connection.execute(f"{refuse} SELECT RAISE(ABORT, 'refused'); END")
    await driver.set("old", b"0")
    commits = count_commits(driver)
    async with driver.watch() as events:
        outcomes = await asyncio.gather(
            driver.set("before", b"1"),
            driver.apply([], [Put("a", b"1"), Delete("old"), Put("bad", b"2"), Put("b", b"3")]),
            driver.apply([Condition("before", Presence.PRESENT)], [Put("after", b"4")]),
            return_exceptions=True,
        )
        seen = [(await anext(events)).key for _ in range(2)]
    assert isinstance(outcomes[1], Internal)
    assert outcomes[1].outcome is Outcome.NOT_APPLIED
    assert seen == ["before", "after"]
    # One for the writes, one for the lease of the watch.
    assert len(commits) == 2
    with plain(path) as other:
        found = other.execute("SELECT key, revision FROM kv ORDER BY revision").fetchall()
        (revision,) = other.execute("SELECT revision FROM state").fetchone()
    assert [key for key, _ in found] == ["old", "before", "after"]
    assert revision == found[-1][1]
    assert outcomes[2] == [revision]


async def test_an_error_that_undoes_the_transaction_fails_every_write_in_it(
    driver: Sqlite, path: Path
) -> None:
    writer = driver._writer
    refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON entries WHEN new.key = 'bad' BEGIN"
    writer._connection.execute(f"{refuse} SELECT RAISE(ROLLBACK, 'refused'); END")
    outcomes = await asyncio.gather(
        driver.set("before", b"1"),
        driver.set("bad", b"2"),
        driver.set("after", b"3"),
        return_exceptions=True,
    )
    for outcome in outcomes:
        assert isinstance(outcome, Internal)
        assert outcome.outcome is Outcome.NOT_APPLIED
    with plain(path) as other:
        assert other.execute("SELECT key FROM kv").fetchall() == []


async def test_a_transaction_that_has_no_room_changes_nothing(open_sqlite: Open) -> None:
    driver = await open_sqlite(max_bytes=200_000)
    await driver.set("old", b"0")
    outcomes = await asyncio.gather(
        driver.set("small", b"1"),
        driver.apply([], [Put("a", b"1"), Delete("old"), Put("large", bytes(500_000))]),
        driver.apply([], [Put("b", b"1"), Put("c", b"2")]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], Exhausted)
    assert outcomes[1].outcome is Outcome.NOT_APPLIED
    found = [await driver.exists(key) for key in ("small", "old", "b", "c", "a", "large")]
    assert found == [True, True, True, True, False, False]


async def test_a_write_that_has_no_room_fails_alone(open_sqlite: Open) -> None:
    driver = await open_sqlite(max_bytes=200_000)
    outcomes = await asyncio.gather(
        driver.set("small", b"1"),
        driver.set("large", bytes(500_000)),
        driver.set("other", b"2"),
        return_exceptions=True,
    )
    refused = outcomes[1]
    assert isinstance(refused, Exhausted)
    assert refused.outcome is Outcome.NOT_APPLIED
    assert "max_bytes" in refused.message
    assert await driver.exists("small")
    assert await driver.exists("other")
    assert not await driver.exists("large")


async def test_a_full_file_is_degraded_until_there_is_room(open_sqlite: Open) -> None:
    driver = await open_sqlite(max_bytes=200_000)
    assert (await driver.health()).status is HealthStatus.HEALTHY
    with pytest.raises(Exhausted):
        await driver.set("large", bytes(500_000))
    written = await asyncio.gather(
        *(driver.set(f"{n}", bytes(1000)) for n in range(300)), return_exceptions=True
    )
    refused = [outcome for outcome in written if isinstance(outcome, Exhausted)]
    assert refused
    assert await driver.get("0") is not None
    await driver.delete_many([f"{n}" for n in range(300)])
    await driver.set("small", b"1")
    assert (await driver.health()).status is HealthStatus.HEALTHY


async def test_a_failed_commit_leaves_the_outcome_unknown(driver: Sqlite) -> None:
    writer = driver._writer
    connection = writer._connection
    failing = FailingConnection(connection, "COMMIT", sqlite3.SQLITE_IOERR_FSYNC)
    writer._connection = failing  # type: ignore[assignment]
    for outcome in await asyncio.gather(
        driver.set("a", b"1"), driver.set("b", b"2"), return_exceptions=True
    ):
        assert isinstance(outcome, BackendUnavailable)
        assert outcome.outcome is Outcome.UNKNOWN
    assert (await driver.health()).status is HealthStatus.DEGRADED
    writer._connection = connection
    await driver.set("a", b"3")
    assert (await driver.health()).status is HealthStatus.HEALTHY


async def test_a_lock_of_another_process_is_not_applied(driver: Sqlite, path: Path) -> None:
    await driver.set("key", b"old")
    with plain(path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendUnavailable, match="locked by another process") as refusal:
            await driver.set("key", b"new")
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        health = await driver.health()
        assert health.status is HealthStatus.DEGRADED
        assert "locked" in health.message
        # Readers do not wait for writers.
        entry = await driver.get("key")
        assert entry is not None
        assert entry.value == b"old"
    await driver.set("key", b"new")
    assert (await driver.health()).status is HealthStatus.HEALTHY


async def test_a_write_that_is_cancelled_before_its_transaction_is_absent(driver: Sqlite) -> None:
    write = asyncio.create_task(driver.set("key", b"value"))
    await asyncio.sleep(0)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    await driver.set("other", b"")
    assert not await driver.exists("key")


async def test_stop_finishes_the_writes_that_were_asked_for(open_sqlite: Open, path: Path) -> None:
    driver = await open_sqlite()
    writes = [asyncio.create_task(driver.set(f"{n}", b"value")) for n in range(100)]
    await asyncio.sleep(0)
    await driver.stop()
    await asyncio.gather(*writes)
    with plain(path) as other:
        assert other.execute("SELECT count(*) FROM kv").fetchone() == (100,)


async def test_a_defect_fails_the_write_and_not_the_thread(driver: Sqlite) -> None:
    def defect(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await driver._writer.write(defect)
    await driver.set("key", b"value")


async def test_a_file_that_was_replaced_takes_no_writes(driver: Sqlite, path: Path) -> None:
    await driver.set("key", b"value")
    path.rename(path.with_suffix(".moved"))
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="deleted or replaced") as refusal:
            await driver.set("key", b"lost")
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert (await driver.health()).status is HealthStatus.UNHEALTHY
        path.write_bytes(b"")


async def test_a_deleted_file_is_unhealthy_before_anybody_writes(
    driver: Sqlite, path: Path
) -> None:
    path.unlink()
    assert (await driver.health()).status is HealthStatus.UNHEALTHY


async def test_a_damaged_page_is_reported_and_stays_in_the_health(
    open_sqlite: Open, path: Path
) -> None:
    driver = await open_sqlite()
    await driver.set_many([Put(f"{n:05}", bytes(100)) for n in range(1000)])
    await driver.stop()
    content = bytearray(path.read_bytes())
    # The first page holds the header and the schema, and every other page is overwritten.
    content[2 * 4096 :] = b"\xee" * (len(content) - 2 * 4096)
    path.write_bytes(content)
    driver = await open_sqlite()
    with pytest.raises(Internal, match="restore it from a backup") as refusal:
        await driver.get("00500")
    assert refusal.value.reason == "CORRUPT"
    health = await driver.health()
    assert health.status is HealthStatus.UNHEALTHY
    assert "damaged" in health.message


async def test_expired_keys_are_deleted_from_the_file(driver: Sqlite, path: Path) -> None:
    await driver.set_many([Put(f"{n}", b"", timedelta(milliseconds=1)) for n in range(3000)])
    await driver.set("stays", b"")
    with plain(path) as other:
        async with asyncio.timeout(30):
            while other.execute("SELECT count(*) FROM entries").fetchone() != (1,):
                await asyncio.sleep(0.01)


async def test_a_revision_is_not_given_twice_over_restarts(open_sqlite: Open) -> None:
    seen: list[int] = []
    for _ in range(3):
        driver = await open_sqlite()
        seen.append(await driver.set("key", b"value"))
        await driver.delete("key")
        seen.append(await driver.set("key", b"value", ttl=timedelta(milliseconds=1)))
        await driver.stop()
    assert len(set(seen)) == len(seen)
