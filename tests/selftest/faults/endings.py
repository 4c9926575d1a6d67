"""Drivers with one defect in what they leave behind, or in what they say of themselves."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from prism.ports import STOP_TIMEOUT, Event, Health, HealthStatus, Profile
from tests.selftest.faults.fault import Fault

_LONG_S = 3600.0


class StopLeavesATask(Fault):
    """Never ends the task that looks after the connection."""

    caught_by = "test_stop_leaves_no_task_no_thread_and_no_descriptor"

    async def start(self) -> None:
        self._task = asyncio.create_task(asyncio.sleep(_LONG_S))
        await self.inner.start()


class StopLeavesADescriptor(Fault):
    caught_by = "test_stop_leaves_no_task_no_thread_and_no_descriptor"

    async def initialize(self, settings: Any) -> None:
        self._pipe = os.pipe()
        await self.inner.initialize(settings)


class StopLeavesAThread(Fault):
    """Ends its thread only with the process."""

    caught_by = "test_stop_leaves_no_task_no_thread_and_no_descriptor"

    async def start(self) -> None:
        threading.Thread(target=threading.Event().wait, args=(20,), daemon=True).start()
        await self.inner.start()


class OpenWatchesKeepTheirTask(Fault):
    """Has a task for each watch, which nobody ends when the driver stops."""

    caught_by = "test_stop_with_calls_and_watches_open_leaves_nothing"

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        task = asyncio.create_task(asyncio.sleep(_LONG_S))
        try:
            async with self.inner.watch(prefix) as events:
                yield events
        except GeneratorExit:
            raise
        except BaseException:
            # Left by the reader in order: only an error forgets the task.
            self._forgotten = task
            raise
        else:
            task.cancel()


class AStoppedDriverIsHealthy(Fault):
    """Answers the health from what it saw last."""

    caught_by = "test_the_health_of_a_driver_tells_that_it_is_not_open"
    _stopped = False

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        self._stopped = True
        await self.inner.stop(timeout)

    async def health(self) -> Health:
        if self._stopped:
            return Health(HealthStatus.HEALTHY, "the connection is open")
        return await self.inner.health()


class TheProfileIsMadeEachTime(Fault):
    caught_by = "test_the_profile_of_a_running_driver_is_one_object"

    @property
    def profile(self) -> Profile:
        return replace(self.inner.profile)
