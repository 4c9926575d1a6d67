"""Reads and writes that a test holds up for as long as it needs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from prism.ports import Driver, Entry, Version
from prism.testing.suite.timing import wait_until
from prism.testing.suite.wrapper import DriverWrapper


class OperationBlocker:
    """Holds up `get` and `set` of the drivers it wraps, before they have any effect.

    Attributes:
        blocked: number of operations that are held up now.
    """

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._released.set()
        self.blocked = 0

    def wrap(self, driver: Driver[Any]) -> Driver[Any]:
        """Return the driver with its `get` and `set` under control; for `open_backend`."""
        return _BlockedDriver(driver, self)

    def block(self) -> None:
        """Hold up every `get` and `set` from now on."""
        self._released.clear()

    def release(self) -> None:
        """Let the operations that are held up go on, and later ones pass."""
        self._released.set()

    async def pass_through(self) -> None:
        """Return at once, or after `release` while operations are held up."""
        self.blocked += 1
        try:
            await self._released.wait()
        finally:
            self.blocked -= 1

    async def wait_for(self, count: int) -> None:
        """Wait until exactly this many operations are held up."""

        async def reached() -> bool:
            return self.blocked == count

        await wait_until(reached, f"{count} operations reach the driver")


class _BlockedDriver(DriverWrapper):
    def __init__(self, inner: Driver[Any], blocker: OperationBlocker) -> None:
        super().__init__(inner)
        self._blocker = blocker

    async def get(self, key: str) -> Entry | None:
        await self._blocker.pass_through()
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._blocker.pass_through()
        return await super().set(key, value, ttl=ttl)
