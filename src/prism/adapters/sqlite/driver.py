"""SQLite driver: implements the ports on a writer and on readers of one file."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

from prism.adapters.sqlite.changes import ChangeLog
from prism.adapters.sqlite.maintenance import Maintenance
from prism.adapters.sqlite.reader import THREADS, Reader
from prism.adapters.sqlite.schema import never_wait, open_reader, open_writer
from prism.adapters.sqlite.settings import NAME, SqliteSettings, profile_of
from prism.adapters.sqlite.table import Entries
from prism.adapters.sqlite.writer import Work, Writer
from prism.kit import closed
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Condition,
    Count,
    DrainReport,
    Entry,
    Event,
    Health,
    HealthStatus,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    Write,
)

_CLOSED = closed("the SQLite file")


class Sqlite:
    """Key-value store in one SQLite file.

    It accepts operations from `initialize` to `stop`. Refusing them before `start` and during
    a drain is left to its caller.
    """

    def __init__(self) -> None:
        self._profile = profile_of(max_value_bytes=1 << 20)
        self._path = Path()
        self._max_bytes = 0
        self._set_closed()

    def _set_closed(self) -> None:
        self._writer: Writer = _CLOSED
        self._reader: Reader = _CLOSED
        self._maintenance: Maintenance = _CLOSED

    @property
    def profile(self) -> Profile:
        return self._profile

    async def get(self, key: str) -> Entry | None:
        return await self._reader.read(Entries.get, key)

    async def exists(self, key: str) -> bool:
        return await self._reader.read(Entries.exists, key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._writer.write(
            lambda transaction: transaction.put(key, value, ttl), len(key) + len(value)
        )

    async def delete(self, key: str) -> bool:
        return await self._writer.write(_delete(key))

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return await self._writer.write(lambda transaction: transaction.expire(key, ttl))

    async def ttl(self, key: str) -> Lifetime | None:
        return await self._reader.read(Entries.lifetime, key)

    async def persist(self, key: str) -> Persisted:
        return await self._writer.write(lambda transaction: transaction.persist(key))

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self._writer.write(
            lambda transaction: transaction.compare_and_set(key, value, expected, ttl),
            len(key) + len(value),
        )

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        await self._writer.write(lambda transaction: transaction.compare_and_delete(key, expected))

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        max_bytes = self._profile.limits.max_batch_bytes
        return await self._reader.read_in_thread(lambda entries: entries.get_many(keys, max_bytes))

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self._writer.write_many(
            [_put(put) for put in puts],
            sum(len(put.key) + len(put.value) for put in puts),
        )

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return await self._writer.write_many([_delete(key) for key in keys])

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await self._reader.read_in_thread(
            lambda entries: entries.page(
                prefix,
                page_size=page_size,
                page_token=page_token,
                values=values,
                limits=self._profile.limits,
            )
        )

    async def increment(self, key: str, delta: int = 1) -> Count:
        return await self._writer.write(lambda transaction: transaction.increment(key, delta))

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        return await self._writer.write(
            lambda transaction: transaction.apply(conditions, writes),
            sum(len(put.key) + len(put.value) for put in writes if isinstance(put, Put)),
        )

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._maintenance.watch(prefix)

    async def initialize(self, settings: SqliteSettings) -> None:
        lock_timeout_s = settings.lock_timeout.total_seconds()
        connection, reading, *for_threads = await _opened(settings)
        log = ChangeLog(connection, secrets.token_hex(8))
        maintenance = Maintenance(log)
        writer = Writer(
            connection,
            settings.path,
            lock_timeout_s=lock_timeout_s,
            log=log,
            on_commit=maintenance.report,
        )
        reader = Reader(reading, for_threads, settings.path)
        maintenance.bind(writer, reader)
        self._profile = profile_of(settings.max_value_bytes)
        self._path, self._max_bytes = settings.path, settings.max_bytes
        self._writer, self._reader, self._maintenance = writer, reader, maintenance

    async def start(self) -> None:
        self._maintenance.start()

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        writer, reader, maintenance = self._writer, self._reader, self._maintenance
        if writer is _CLOSED:
            return
        self._set_closed()
        await maintenance.stop()
        await reader.close()
        await writer.close()

    async def health(self) -> Health:
        """Return whether the file can be read and written.

        Unhealthy if it cannot be read, is damaged, or another file took its place; degraded if
        the last write failed because of the file, and a write that no caller notices fails now.
        """
        if self._writer is _CLOSED:
            return Health(HealthStatus.UNHEALTHY, "the SQLite file is not open", {"backend": NAME})
        details = {
            "backend": NAME,
            "path": str(self._path),
            "max_bytes": str(self._max_bytes or "unlimited"),
            "sqlite_version": sqlite3.sqlite_version,
        }
        try:
            details |= await self._reader.read_in_thread(Entries.size)
            details["log_bytes"] = str(await asyncio.to_thread(_size_of_log, self._path))
            if self._writer.last_error is not None:
                await self._writer.write(lambda transaction: transaction.use_revision())
        except PrismError as error:
            details["last_error"] = error.message
            is_readable = "bytes" in details and error.reason != "FILE_REPLACED"
            status = HealthStatus.DEGRADED if is_readable else HealthStatus.UNHEALTHY
            return Health(status, error.message, details)
        if not self._writer.has_its_file():
            message = f"{self._path} was deleted or replaced while it was open"
            return Health(HealthStatus.UNHEALTHY, message, details)
        damage = self._reader.damage or self._writer.damage
        if damage is not None:
            details["last_error"] = damage.message
            return Health(HealthStatus.UNHEALTHY, damage.message, details)
        return Health(HealthStatus.HEALTHY, f"{self._path} has {details['bytes']} bytes", details)


async def _opened(settings: SqliteSettings) -> list[sqlite3.Connection]:
    """Open all connections, in a thread. Cancelling closes what the thread still opens."""
    opening = asyncio.get_running_loop().run_in_executor(None, _open, settings)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_opened)
        raise


def _close_opened(opening: asyncio.Future[list[sqlite3.Connection]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        for connection in opening.result():
            connection.close()


def _open(settings: SqliteSettings) -> list[sqlite3.Connection]:
    """Open the connection that writes, the one that reads in the event loop, and the others.

    All of them now: SQLite keeps the descriptor of a closed connection for the next one while
    another driver of the process has the file open, so each driver needs as many as the last.
    """
    opened = [open_writer(settings)]
    try:
        while len(opened) < 2 + THREADS:
            opened.append(open_reader(settings.path, settings.lock_timeout.total_seconds()))
        never_wait(opened[1])
    except BaseException:
        for connection in opened:
            connection.close()
        raise
    return opened


def _put(put: Put) -> Work[Version]:
    return lambda transaction: transaction.put(*put)


def _delete(key: str) -> Work[bool]:
    return lambda transaction: transaction.delete(key)


def _size_of_log(path: Path) -> int:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0
