"""Files driver: implements the ports; each operation runs in a thread."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from prism.kit import closed
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    AccessDenied,
    BackendUnavailable,
    Capability,
    Declaration,
    DrainReport,
    DriverSpec,
    Entry,
    Exhausted,
    Health,
    HealthStatus,
    Lifetime,
    Limits,
    Page,
    Persisted,
    PrismError,
    Profile,
    Support,
    Version,
    VersionKind,
    setting,
)
from prism_driver_files.folder import Folder

log = logging.getLogger(__name__)

Result = TypeVar("Result")

NAME = "files"
VERSION = version("prism-driver-files")
CAPABILITIES = {
    Capability.TTL: Declaration(
        Support.EMULATED,
        granularity=timedelta(milliseconds=1),
        notes="Uses the wall clock of the machine: setting the clock moves expiries.",
    ),
    Capability.SCAN: Declaration(
        Support.EMULATED, notes="Each page lists the folder, and reads the files up to its end."
    ),
}
LIMITS = Limits()

PURGE_INTERVAL_SECONDS = 60.0

_CLOSED = closed("the folder")


@dataclass(frozen=True, slots=True)
class FilesSettings:
    """Settings of the driver."""

    path: Path = setting(help="Folder that holds the keys; it must exist.")
    sync: bool = setting(True, help="Whether a write is on the disk before it is acknowledged.")


class FilesDriver:
    """Key-value store in a folder, with one thread for writes."""

    profile = Profile(NAME, VERSION, VersionKind.DIGEST, CAPABILITIES, LIMITS)

    def __init__(self) -> None:
        self._folder: Folder = _CLOSED
        self._writes: ThreadPoolExecutor = _CLOSED
        self._purging: asyncio.Task[None] | None = None

    async def initialize(self, settings: FilesSettings) -> None:
        folder = Folder(settings.path, sync=settings.sync)
        await _in_thread(None, folder.create)
        self._folder = folder
        self._writes = ThreadPoolExecutor(1, thread_name_prefix="prism-files")

    async def start(self) -> None:
        self._purging = asyncio.create_task(self._purge())

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        writes, self._writes, self._folder = self._writes, _CLOSED, _CLOSED
        if self._purging is not None:
            self._purging.cancel()
            with suppress(asyncio.CancelledError):
                await self._purging
        if writes is not _CLOSED:
            await _in_thread(None, writes.shutdown)

    async def health(self) -> Health:
        try:
            keys = await self._read(self._folder.count)
        except PrismError as error:
            return Health(HealthStatus.UNHEALTHY, error.message, {"backend": NAME})
        details = {"backend": NAME, "keys": str(keys)}
        return Health(HealthStatus.HEALTHY, f"the folder holds {keys} keys", details)

    async def get(self, key: str) -> Entry | None:
        return await self._read(self._folder.get, key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._write(self._folder.put, key, value, ttl)

    async def delete(self, key: str) -> bool:
        return await self._write(self._folder.delete, key)

    async def exists(self, key: str) -> bool:
        return await self.get(key) is not None

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return await self._write(self._folder.expire, key, ttl)

    async def ttl(self, key: str) -> Lifetime | None:
        return await self._read(self._folder.lifetime, key)

    async def persist(self, key: str) -> Persisted:
        return await self._write(self._folder.persist, key)

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await self._read(self._folder.page, prefix, page_size, page_token, values, LIMITS)

    async def _read(self, call: Callable[..., Result], *args: object) -> Result:
        return await _in_thread(None, call, *args)

    async def _write(self, call: Callable[..., Result], *args: object) -> Result:
        return await _in_thread(self._writes, call, *args)

    async def _purge(self) -> None:
        """Remove the files of expired keys, which reads ignore already, to free their space."""
        while True:
            await asyncio.sleep(PURGE_INTERVAL_SECONDS)
            try:
                await self._write(self._folder.purge)
            except PrismError as error:
                log.warning("cannot remove expired keys, will try again: %s", error.message)


async def _in_thread(
    threads: ThreadPoolExecutor | None, call: Callable[..., Result], *args: object
) -> Result:
    """Make a call in a thread, and translate its errors.

    Cancelling revokes a write that has not begun, and has no effect later.
    """
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, call, *args)
    except OSError as error:
        raise _translated(error) from error


def _translated(error: OSError) -> PrismError:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return Exhausted(f"the disk is full: {error.strerror}")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDenied(f"{error.filename} cannot be used: {error.strerror}")
    # Where an error of the disk came late, the write may have taken effect.
    return BackendUnavailable(f"the disk failed: {error.strerror}")


DRIVER = DriverSpec(
    name=NAME,
    version=VERSION,
    summary="Durable, in the files of a folder.",
    settings=FilesSettings,
    factory=FilesDriver,
    capabilities=CAPABILITIES,
)
