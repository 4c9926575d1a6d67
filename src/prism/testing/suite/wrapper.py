"""Wrappers around a driver: the base class, a capture, and a blocker of operations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Never, Protocol

from prism.ports import OPERATIONS, Driver, Entry, FullKeyValue, Profile, Version
from prism.testing.suite.timing import wait_until


class FullDriver(FullKeyValue, Driver[Any], Protocol):
    """A driver with the methods of every capability."""


if TYPE_CHECKING:
    # The methods are made below from the table of operations, unseen by the type checker.
    _Forwarding = Any
else:
    _Forwarding = object


class DriverWrapper(_Forwarding):  # type: ignore[misc]
    """Driver that passes every call to another driver; a subclass overrides what it changes.

    It has the methods of every capability, whether declared or not. What may be called
    stands in the profile, which is that of the inner driver.

    Attributes:
        inner: the driver inside. An override calls it: `await self.inner.get(key)`.
    """

    def __init__(self, inner: Driver[Never]) -> None:
        self.inner: FullDriver = inner  # type: ignore[assignment]

    @property
    def profile(self) -> Profile:
        return self.inner.profile


def _forwarding(name: str) -> Callable[..., object]:
    def forward(self: DriverWrapper, *args: object, **kwargs: object) -> object:
        return getattr(self.inner, name)(*args, **kwargs)

    forward.__name__ = name
    return forward


for _name in (*OPERATIONS, "initialize", "start", "drain", "stop", "health"):
    setattr(DriverWrapper, _name, _forwarding(_name))


class DriverCapture:
    """Gives a test the driver itself, past the gateway and the server around it.

    Attributes:
        driver: the driver, once the backend is open.
    """

    driver: FullDriver

    def capture(self, driver: Driver[Never]) -> Driver[Never]:
        """Keep the driver and return it unchanged; for `open_backend(wrap=…)`."""
        self.driver = driver  # type: ignore[assignment]
        return driver


class OperationBlocker:
    """Holds up `get` and `set` of the drivers it wraps, before they have any effect.

    Attributes:
        blocked: number of operations that are held up now.
    """

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._released.set()
        self.blocked = 0

    def wrap(self, driver: Driver[Never]) -> Driver[Never]:
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
    def __init__(self, inner: Driver[Never], blocker: OperationBlocker) -> None:
        super().__init__(inner)
        self._blocker = blocker

    async def get(self, key: str) -> Entry | None:
        await self._blocker.pass_through()
        return await self.inner.get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._blocker.pass_through()
        return await self.inner.set(key, value, ttl=ttl)
