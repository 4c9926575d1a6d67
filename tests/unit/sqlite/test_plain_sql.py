"""Other programs read and write the view `kv` with plain SQL, as docs/sqlite.md says."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from prism.adapters.sqlite import Sqlite
from prism.adapters.sqlite.table import clock_ms
from prism.ports import Change, Event, VersionConflict
from tests.unit.sqlite.conftest import plain

KEYS = ["a", "a\0", "é", "🔑", "a'b", "a\nb", " ", "\uffff"]


async def test_the_view_shows_what_was_written(driver: Sqlite, path: Path) -> None:
    versions = {key: await driver.set(key, key.encode()) for key in KEYS}
    await driver.set("temporary", b"", ttl=timedelta(hours=1))
    await driver.set("gone", b"", ttl=timedelta(milliseconds=1))
    entry = await driver.get("temporary")
    assert entry is not None
    await asyncio.sleep(0.005)
    with plain(path) as connection:
        shown = {
            key: rest
            for key, *rest in connection.execute(
                "SELECT key, value, revision, expires_at_ms FROM kv"
            )
        }
    expected = {key: [key.encode(), version, None] for key, version in versions.items()}
    assert shown == expected | {"temporary": [b"", entry.version, entry.expires_at_ms]}


async def test_keys_and_values_that_plain_sql_wrote_are_read(driver: Sqlite, path: Path) -> None:
    await driver.set("key", b"old")
    expires_at_ms = clock_ms() + 3_600_000
    with plain(path) as connection:
        connection.execute("INSERT INTO kv (key, value) VALUES ('key', 'new')")
        connection.execute("INSERT INTO kv (key, value) VALUES ('binary', x'00ff')")
        connection.execute("INSERT INTO kv (key, value) VALUES ('number', 41)")
        connection.execute(
            "INSERT INTO kv (key, value, expires_at_ms) VALUES ('ttl', '', ?)", (expires_at_ms,)
        )
        connection.execute("INSERT INTO kv (key, value) VALUES ('gone', '')")
        connection.execute("DELETE FROM kv WHERE key = 'gone'")
    values = {key: await driver.get(key) for key in ("key", "binary", "ttl")}
    assert {key: entry and entry.value for key, entry in values.items()} == {
        "key": b"new",
        "binary": b"\x00\xff",
        "ttl": b"",
    }
    assert values["ttl"] is not None
    assert values["ttl"].expires_at_ms == expires_at_ms
    assert (await driver.increment("number")).value == 42
    assert (await driver.scan()).keys == ["binary", "key", "number", "ttl"]


async def test_a_plain_write_changes_the_version(driver: Sqlite, path: Path) -> None:
    for statement in (
        "INSERT INTO kv (key, value) VALUES ('key', 'value')",
        "UPDATE kv SET value = 'value' WHERE key = 'key'",
    ):
        before = await driver.set("key", b"value")
        with plain(path) as connection:
            connection.execute(statement)
        with pytest.raises(VersionConflict):
            await driver.compare_and_set("key", b"mine", expected=before)
        after = await driver.get("key")
        assert after is not None
        await driver.compare_and_set("key", b"mine", expected=after.version)


async def test_an_update_of_the_expiry_is_no_new_version(driver: Sqlite, path: Path) -> None:
    version = await driver.set("key", b"value")
    with plain(path) as connection:
        connection.execute(
            "UPDATE kv SET expires_at_ms = ? WHERE key = 'key'", (clock_ms() + 9000,)
        )
    entry = await driver.get("key")
    assert entry is not None
    assert entry.version == version
    assert entry.expires_at_ms is not None


async def test_a_watch_reports_what_plain_sql_changes(driver: Sqlite, path: Path) -> None:
    async with driver.watch() as events, asyncio.timeout(30):
        with plain(path) as connection:
            connection.execute("INSERT INTO kv (key, value) VALUES ('key', 'a')")
            connection.execute("UPDATE kv SET value = 'b' WHERE key = 'key'")
            connection.execute("DELETE FROM kv WHERE key = 'key'")
        first, second, third = [await anext(events) for _ in range(3)]
    assert (first.change, first.key, first.value) == (Change.PUT, "key", b"a")
    assert (second.change, second.key, second.value) == (Change.PUT, "key", b"b")
    assert first.version != second.version
    assert third == Event(Change.DELETE, "key")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("INSERT INTO kv (key, value) VALUES ('', 'value')", "1 to 1024 bytes"),
        ("INSERT INTO kv (key, value) VALUES (NULL, 'value')", "NOT NULL"),
        ("INSERT INTO kv (key, value) VALUES ('key', NULL)", "NOT NULL"),
        ("UPDATE kv SET key = 'other'", "cannot be changed"),
        ("INSERT INTO kv (key, value) VALUES (hex(zeroblob(600)), 'value')", "1 to 1024 bytes"),
    ],
)
async def test_a_plain_write_that_breaks_a_rule_is_refused(
    driver: Sqlite, path: Path, statement: str, words: str
) -> None:
    await driver.set("there", b"value")
    with plain(path) as connection, pytest.raises(sqlite3.Error, match=words):
        connection.execute(statement)
    assert (await driver.scan()).keys == ["there"]


async def test_a_key_that_is_not_utf8_is_invisible_and_does_no_harm(
    driver: Sqlite, path: Path
) -> None:
    await driver.set("a", b"")
    await driver.set("z", b"")
    async with driver.watch() as events, asyncio.timeout(30):
        with plain(path) as connection:
            insert = "INSERT INTO kv (key, value, expires_at_ms) VALUES (CAST(? AS TEXT), '', ?)"
            connection.execute(insert, (b"k\xff", clock_ms() + 500))
        version = await driver.set("b", b"")
        assert await anext(events) == Event(Change.PUT, "b", b"", version)
        keys: list[str] = []
        token = ""
        while True:
            page = await driver.scan(page_size=1, page_token=token)
            keys += page.keys
            token = page.next_token
            if not token:
                break
        assert keys == ["a", "b", "z"]
        with plain(path) as connection:
            while connection.execute("SELECT count(*) FROM entries").fetchone() != (3,):
                await asyncio.sleep(0.01)
