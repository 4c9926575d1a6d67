"""Drivers that begin or end badly."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from prism.ports import DRAIN_TIMEOUT, STOP_TIMEOUT, DrainReport, Driver, Entry, Version
from tests.selftest.faults.fault import Fault


class DrainForgetsTheBuffer(Fault):
    """Acknowledges a write before it leaves the buffer, which a drain does not flush."""

    caught_by = "test_a_drain_loses_no_acknowledged_write"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._buffered: str | None = None

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._buffered = key
        return await super().set(key, value, ttl=ttl)

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        if self._buffered is not None:
            await super().delete(self._buffered)
        return await super().drain(timeout)


class ClosedDriversHang(Fault):
    caught_by = "test_a_closed_driver_answers_with_an_error"
    _closed = False

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        self._closed = True
        await super().stop(timeout)

    async def get(self, key: str) -> Entry | None:
        if self._closed:
            await asyncio.Event().wait()
        return await super().get(key)


class ClosingTwiceFails(Fault):
    caught_by = "test_closing_a_driver_twice_is_safe"
    _closed = False

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True
        await super().stop(timeout)


class DrainReportsWhatItDidNotDo(Fault):
    caught_by = "test_drain_of_an_idle_backend_is_empty"

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        report = await super().drain(timeout)
        return DrainReport(report.completed + 1, report.aborted)
