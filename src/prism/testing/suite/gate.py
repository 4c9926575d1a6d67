"""Operations that take as long as a test wants."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from prism.ports import Driver, Entry, Version
from prism.testing.suite.clock import until
from prism.testing.suite.wrapper import DriverWrapper


class Gate:
    """Holds the reads and writes of the drivers it wraps, before they have any effect."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()
        self.held = 0

    def wrap(self, driver: Driver[Any]) -> Driver[Any]:
        return _GatedDriver(driver, self)

    def close(self) -> None:
        self._opened.clear()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        self.held += 1
        try:
            await self._opened.wait()
        finally:
            self.held -= 1

    async def holds(self, count: int) -> None:
        """Wait until as many operations stand before the gate."""

        async def reached() -> bool:
            return self.held == count

        await until(reached, f"{count} operations reach the driver")


class _GatedDriver(DriverWrapper):
    def __init__(self, inner: Driver[Any], gate: Gate) -> None:
        super().__init__(inner)
        self._gate = gate

    async def get(self, key: str) -> Entry | None:
        await self._gate.passed()
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._gate.passed()
        return await super().set(key, value, ttl=ttl)
