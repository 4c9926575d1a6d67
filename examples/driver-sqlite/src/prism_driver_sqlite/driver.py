"""SQLite driver: implements the ports; each operation is one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from prism.kit import ReplyBudget, closed
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Capability,
    Count,
    Declaration,
    DrainReport,
    DriverSpec,
    Entry,
    Health,
    HealthStatus,
    InvalidArgument,
    Lifetime,
    Limits,
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
        notes="Uses the wall clock of the machine: setting the clock moves expiries.",
    ),
    Capability.COMPARE_AND_SET: Declaration(),
    Capability.BATCH: Declaration(notes="The writes of a batch are one transaction."),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
}
LIMITS = Limits()

PURGE_INTERVAL_SECONDS = 1.0
PURGE_BATCH = 1000

_CLOSED = closed("the file")


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """Settings of the driver."""

    path: Path = setting(help="File that holds the keys; created when absent.")
    busy_timeout: timedelta = setting(
        timedelta(seconds=5), help="Time to wait while another process writes."
    )
    max_bytes: int = setting(0, help="Maximum size of the file in bytes; 0: no limit.")

    def __post_init__(self) -> None:
        if self.busy_timeout < timedelta():
            raise InvalidArgument(
                f"sqlite setting busy_timeout is {self.busy_timeout}; it must be 0 or more"
            )
        if self.max_bytes < 0:
            raise InvalidArgument(
                f"sqlite setting max_bytes is {self.max_bytes}; it must be 0 or more"
            )


class SqliteDriver:
    """Key-value store in one SQLite file, with one thread for writes and one for reads."""

    profile = Profile(NAME, VERSION, VersionKind.REVISION, CAPABILITIES, LIMITS)

    def __init__(self) -> None:
        self._writer: Connection = _CLOSED
        self._reader: Connection = _CLOSED
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
        self._reader = self._writer = _CLOSED
        if self._purging is not None:
            self._purging.cancel()
            with suppress(asyncio.CancelledError):
                await self._purging
        for connection in connections:
            if connection is not _CLOSED:
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
            return ReplyBudget(LIMITS.max_batch_bytes).limit(map(table.get, keys))

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
        return await self._write(lambda table: table.increment(key, delta))

    async def _read(self, work: Callable[[Table], Result]) -> Result:
        return await self._reader.read(work)

    async def _write(self, work: Callable[[Table], Result]) -> Result:
        return await self._writer.write(work)

    async def _purge(self) -> None:
        """Delete expired entries, which reads ignore already, to free their space."""
        while True:
            await asyncio.sleep(PURGE_INTERVAL_SECONDS)
            try:
                while await self._write(lambda table: table.purge(PURGE_BATCH)) == PURGE_BATCH:
                    pass
            except PrismError as error:
                log.warning("cannot delete expired keys, will try again: %s", error.message)


DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="Durable, in one file that the processes of a machine can share.",
    settings=SqliteSettings,
    factory=SqliteDriver,
    capabilities=CAPABILITIES,
)
