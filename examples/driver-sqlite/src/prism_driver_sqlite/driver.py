"""The ports on top of SQLite: each operation is one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Capability,
    Count,
    Declaration,
    DrainReport,
    DriverSpec,
    Entry,
    Exhausted,
    Health,
    HealthStatus,
    InvalidArgument,
    Lifetime,
    Limits,
    NotServing,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    VersionKind,
    setting,
)
from prism_driver_sqlite.database import Connection, Result
from prism_driver_sqlite.table import Table, now_ms

log = logging.getLogger(__name__)

NAME = "sqlite"
VERSION = version("prism-driver-sqlite")
CAPABILITIES = {
    Capability.TTL: Declaration(
        granularity=timedelta(milliseconds=1),
        notes="By the wall clock of the machine: where that is set, expiries move with it.",
    ),
    Capability.COMPARE_AND_SET: Declaration(),
    Capability.BATCH: Declaration(notes="The writes of a batch are one transaction."),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
}
LIMITS = Limits()

PURGE_EVERY_SECONDS = 1.0
PURGE_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """See each setting's help."""

    path: Path = setting(help="File that holds the keys; it is made when absent.")
    busy_timeout: timedelta = setting(
        timedelta(seconds=5), help="Time to wait while another process writes."
    )
    max_bytes: int = setting(0, help="Bytes the file may grow to; 0: no limit.")

    def __post_init__(self) -> None:
        for name, refused in (
            ("busy_timeout", self.busy_timeout < timedelta()),
            ("max_bytes", self.max_bytes < 0),
        ):
            if refused:
                raise InvalidArgument(f"sqlite setting {name}: it must be 0 or more")


class SqliteDriver:
    """Keys in one file. Writes go through one thread, reads through another."""

    profile = Profile(NAME, VERSION, VersionKind.REVISION, CAPABILITIES, LIMITS)

    def __init__(self) -> None:
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._purging: asyncio.Task[None] | None = None

    async def initialize(self, settings: SqliteSettings) -> None:
        self._writer = Connection(settings.path, settings.busy_timeout)
        await self._writer.open_writer(settings.max_bytes)
        self._reader = Connection(settings.path, settings.busy_timeout)
        await self._reader.open_reader()

    async def start(self) -> None:
        self._purging = asyncio.create_task(self._purge())

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        connections = (self._reader, self._writer)
        self._reader = self._writer = None
        if self._purging is not None:
            self._purging.cancel()
            with suppress(asyncio.CancelledError):
                await self._purging
        for connection in connections:
            if connection is not None:
                await connection.close()

    async def health(self) -> Health:
        try:
            size = await self._read(lambda table: table.size())
        except PrismError as error:
            return Health(HealthStatus.UNHEALTHY, error.message, {"backend": NAME})
        details = {"backend": NAME, "bytes": str(size)}
        return Health(HealthStatus.HEALTHY, f"the file has {size} bytes", details)

    async def get(self, key: str) -> Entry | None:
        return await self._read(lambda table: table.get(key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._write(lambda table: table.put(key, value, ttl))

    async def delete(self, key: str) -> bool:
        return await self._write(lambda table: table.delete(key))

    async def exists(self, key: str) -> bool:
        return await self._read(lambda table: table.get(key) is not None)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return await self._write(lambda table: table.expire(key, ttl))

    async def ttl(self, key: str) -> Lifetime | None:
        entry = await self.get(key)
        if entry is None:
            return None
        if entry.expires_at_ms is None:
            return Lifetime()
        return Lifetime(timedelta(milliseconds=max(entry.expires_at_ms - now_ms(), 0)))

    async def persist(self, key: str) -> Persisted:
        def persist(table: Table) -> Persisted:
            entry = table.get(key)
            if entry is None:
                return Persisted.NO_KEY
            if entry.expires_at_ms is None:
                return Persisted.NO_EXPIRY
            table.expire(key, None)
            return Persisted.EXPIRY_REMOVED

        return await self._write(persist)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        def compare_and_set(table: Table) -> Version:
            table.compare(key, expected)
            return table.put(key, value, ttl)

        return await self._write(compare_and_set)

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        def compare_and_delete(table: Table) -> None:
            table.compare(key, expected)
            table.delete(key)

        await self._write(compare_and_delete)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        def get_many(table: Table) -> list[Entry | PrismError | None]:
            room = LIMITS.max_batch_bytes
            outcomes: list[Entry | PrismError | None] = []
            for key in keys:
                entry = table.get(key)
                room -= len(entry.value) if entry else 0
                fits = entry is None or room >= 0
                outcomes.append(entry if fits else Exhausted("no room for it: get fewer at once"))
            return outcomes

        return await self._read(get_many)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self._write(
            lambda table: [table.put(put.key, put.value, put.ttl) for put in puts]
        )

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return await self._write(lambda table: [table.delete(key) for key in keys])

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await self._read(
            lambda table: table.page(
                prefix, page_size=page_size, after=page_token, values=values, limits=LIMITS
            )
        )

    async def increment(self, key: str, delta: int = 1) -> Count:
        return await self._write(lambda table: Count(*table.increment(key, delta)))

    async def _read(self, work: Callable[[Table], Result]) -> Result:
        return await _open(self._reader).read(work)

    async def _write(self, work: Callable[[Table], Result]) -> Result:
        return await _open(self._writer).write(work)

    async def _purge(self) -> None:
        """Make room of what has expired, which no read returns any more."""
        while True:
            await asyncio.sleep(PURGE_EVERY_SECONDS)
            try:
                while await self._write(lambda table: table.purge(PURGE_AT_ONCE)) == PURGE_AT_ONCE:
                    pass
            except PrismError as error:
                log.warning("expired keys stay in the file for now: %s", error.message)


def _open(connection: Connection | None) -> Connection:
    if connection is None:
        raise NotServing("the file is not open: not initialized yet, or stopped")
    return connection


DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="In one file on disk, durable, shared by the processes of a machine.",
    settings=SqliteSettings,
    factory=SqliteDriver,
    capabilities=CAPABILITIES,
)
