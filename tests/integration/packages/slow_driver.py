"""Third-party driver whose behaviour a test controls by its settings.

It logs what it does and continues when a file appears, so that no test depends on timing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from prism.adapters.memstore import DRIVER as MEMSTORE
from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.ports import BackendUnavailable, DriverSpec, Entry, Unauthenticated, setting

log = logging.getLogger("slow_driver")


@dataclass(frozen=True, slots=True)
class SlowSettings:
    url: str = setting("slow://localhost", help="Address in the error when `reachable` is off.")
    password: str | None = setting(None, help="Not used.", secret=True)
    reachable: bool = setting(True, help="Off: initialize fails.")
    reachable_by: Path | None = setting(None, help="Initialize fails until this file exists.")
    refuses: bool = setting(False, help="On: initialize refuses the credentials.")
    broken: bool = setting(False, help="On: initialize raises an unexpected error.")
    says: str | None = setting(None, help="Text to log after initialize.")
    times: int = setting(1, help="How often to log `says`.")
    opened_by: Path | None = setting(None, help="Initialize waits for this file.")
    released_by: Path | None = setting(None, help="A get of `slow` waits for this file.")


class Slow(Memstore):
    async def initialize(self, settings: SlowSettings) -> None:  # type: ignore[override]
        self._slow = settings
        log.info("initializing")
        if settings.broken:
            raise RuntimeError("an unexpected error")
        if settings.refuses:
            raise Unauthenticated(f"{settings.url} rejected the credentials")
        missing = settings.reachable_by is not None and not settings.reachable_by.exists()
        if missing or not settings.reachable:
            raise BackendUnavailable(f"cannot reach {settings.url}: connection refused")
        await _wait_for(settings.opened_by)
        await super().initialize(MemstoreSettings())
        for _ in range(settings.times if settings.says else 0):
            log.info("%s", settings.says)

    async def get(self, key: str) -> Entry | None:
        if key == "slow":
            log.info("in flight")
            await _wait_for(self._slow.released_by)
        return await super().get(key)


async def _wait_for(file: Path | None) -> None:
    while file is not None and not file.exists():  # noqa: ASYNC240  (quick, and a test)
        await asyncio.sleep(0.005)


DRIVER = DriverSpec(
    name="slow",
    version="1.0",
    summary="Waits for files, for tests.",
    settings=SlowSettings,
    factory=Slow,
    capabilities=MEMSTORE.capabilities,
)
