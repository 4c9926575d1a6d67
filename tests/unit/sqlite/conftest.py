"""The driver on a file in a folder of the test's own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from prism.adapters.sqlite import Sqlite, SqliteSettings

Open: TypeAlias = Callable[..., Awaitable[Sqlite]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prism.db"


@pytest.fixture
async def open_sqlite(path: Path) -> AsyncIterator[Open]:
    """Function that opens one more driver on the file, with other settings than the defaults."""
    opened: list[Sqlite] = []

    async def open_with(**settings: Any) -> Sqlite:
        driver = Sqlite()
        await driver.initialize(replace(SqliteSettings(path=path), **settings))
        opened.append(driver)
        await driver.start()
        return driver

    yield open_with
    for driver in opened:
        await driver.stop()


@pytest.fixture
async def driver(open_sqlite: Open) -> Sqlite:
    return await open_sqlite(lock_timeout=timedelta(milliseconds=50))


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as any other program does."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        yield connection
    finally:
        connection.close()
