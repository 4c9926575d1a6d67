"""Stores in a file, as sides and as a program that measures one of them.

`python -m benchmarks.sqlite STORE OPERATION SECONDS`: STORE is `prism` for the driver as the
gateway calls it, `sqlite3` for the module of the standard library with one commit for each
write, or `py-key-value` for its disk store. 64 callers use random keys out of a thousand.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.h2load import KEYS, VALUE
from benchmarks.processes import run_module
from benchmarks.sides import Measure, MeasurementContext, RandomGets
from benchmarks.stores import Store

CALLERS = 64

_CALLS_PER_CHECK = 50


@asynccontextmanager
async def _prism(folder: Path) -> AsyncIterator[Store]:
    from prism.adapters.sqlite import Sqlite, SqliteSettings

    driver = Sqlite()
    await driver.initialize(SqliteSettings(path=folder / "prism.db"))
    await driver.start()
    try:
        yield Store(driver.get, lambda key: driver.set(key, VALUE), lambda entry: entry.value)
    finally:
        await driver.stop()


@asynccontextmanager
async def _sqlite3(folder: Path) -> AsyncIterator[Store]:
    with closing(sqlite3.connect(folder / "plain.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

        async def get(key: str) -> Any:
            return connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()

        async def set_(key: str) -> None:
            connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", (key, VALUE))

        yield Store(get, set_, lambda row: row[0])


@asynccontextmanager
async def _py_key_value(folder: Path) -> AsyncIterator[Store]:
    from key_value.aio.stores.disk import DiskStore

    value = {"value": VALUE.decode("latin-1")}
    async with DiskStore(directory=folder / "disk") as store:
        yield Store(
            store.get,
            lambda key: store.put(key, value),
            lambda found: found["value"].encode("latin-1"),
        )


STORES = {"prism": _prism, "sqlite3": _sqlite3, "py-key-value": _py_key_value}


async def rate(store: str, operation: str, seconds: float) -> float:
    """Return calls per second of all callers together, after every value was verified."""
    with tempfile.TemporaryDirectory(prefix="prism-bench-") as folder:
        async with STORES[store](Path(folder)) as chosen:
            await asyncio.gather(*map(chosen.set, KEYS))
            for key in KEYS:
                if chosen.value_of(await chosen.get(key)) != VALUE:
                    raise SystemExit(f"{store} did not return for {key} what was set")
            call = {"get": chosen.get, "set": chosen.set}[operation]
            start_s = time.perf_counter()
            called = await asyncio.gather(
                *(_call_until(call, start_s + seconds, number) for number in range(CALLERS))
            )
            return sum(called) / (time.perf_counter() - start_s)


async def _call_until(call: Callable[[str], Awaitable[Any]], end_s: float, number: int) -> int:
    keys = random.Random(number).choices(KEYS, k=_CALLS_PER_CHECK)  # noqa: S311
    called = 0
    while time.perf_counter() < end_s:
        for key in keys:
            await call(key)
        called += len(keys)
        # A store that never waits leaves the event loop to the other callers here.
        await asyncio.sleep(0)
    return called


@dataclass(frozen=True, slots=True)
class FileStore:
    """A store in a file, with 64 callers in a process of its own: calls per second."""

    store: str
    operation: str
    settings: str

    @property
    def name(self) -> str:
        return f"{self.store} {self.operation}"

    def open(self, context: MeasurementContext) -> Measure:
        return lambda seconds: run_module(
            "benchmarks.sqlite",
            *(self.store, self.operation, str(seconds)),
            core=context.cores.server,
        )


@dataclass(frozen=True, slots=True)
class RandomGetsFromFile(RandomGets):
    """A server on a file of its own under gets of random keys."""

    def open(self, context: MeasurementContext) -> Measure:
        path = context.folder() / "prism.db"
        server = replace(self.server, environment=(("PRISM_SQLITE_PATH", str(path)),))
        return RandomGets(server, self.keys).open(context)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(rate(sys.argv[1], sys.argv[2], float(sys.argv[3])))}\n")
