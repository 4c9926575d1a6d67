"""Drivers that a cancelled call leaves in disorder."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prism.ports import Driver, Entry, PrismError, Version
from tests.selftest.faults.fault import Fault


class CancelledCallsKeepTheirLock(Fault):
    """Releases the lock of a key only where the call was not cancelled."""

    caught_by = "test_every_operation_works_after_a_cancelled_call"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        await self._locks[key].acquire()
        await asyncio.sleep(0)
        existed = await self.inner.expire(key, ttl)
        self._locks[key].release()
        return existed


class ConditionalWritesTakeTwoSteps(Fault):
    """Sets the ttl of a conditional write in a second step, which a cancellation prevents."""

    caught_by = "test_a_cancelled_write_of_any_kind_is_applied_whole_or_not_at_all"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        version = await self.inner.compare_and_set(key, value, expected=expected)
        if ttl is not None:
            await asyncio.sleep(0)
            await self.inner.expire(key, ttl)
        return version


class CancelledBatchesLeaveTasks(Fault):
    """Shields the request from the cancellation, and waits for a reply that nobody sends."""

    caught_by = "test_cancelled_calls_leave_no_task_and_no_descriptor"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._left: set[asyncio.Task[bool]] = set()

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._left.add(asyncio.create_task(asyncio.Event().wait()))
            raise
        return await self.inner.get_many(keys)
