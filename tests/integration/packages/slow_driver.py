"""A driver of somebody else's package that does what a test asks of it.

It tells by log lines where it is, and goes on when a file appears, so that no
test has to guess how long something takes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from prism.adapters.memstore import DRIVER as MEMSTORE
from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.ports import BackendUnavailable, DriverSpec, Entry, setting

log = logging.getLogger("slow_driver")


@dataclass(frozen=True, slots=True)
class SlowSettings:
    url: str = setting("slow://localhost", help="Shown when it cannot be reached.")
    password: str | None = setting(None, help="Of no use.", secret=True)
    reachable: bool = setting(True, help="Off: initialize fails.")
    broken: bool = setting(False, help="Initialize raises something unexpected.")
    says: str | None = setting(None, help="Logged once it is initialized.")
    times: int = setting(1, help="How often.")
    opened_by: Path | None = setting(None, help="Initialize waits for this file.")
    released_by: Path | None = setting(None, help="A get of `slow` waits for this file.")


class Slow(Memstore):
    async def initialize(self, settings: SlowSettings) -> None:  # type: ignore[override]
        self._slow = settings
        log.info("initializing")
        if settings.broken:
            raise RuntimeError("something nobody thought of")
        if not settings.reachable:
            raise BackendUnavailable(f"cannot reach {settings.url}: connection refused")
        await _appearance(settings.opened_by)
        await super().initialize(MemstoreSettings())
        for _ in range(settings.times if settings.says else 0):
            log.info("%s", settings.says)

    async def get(self, key: str) -> Entry | None:
        if key == "slow":
            log.info("in flight")
            await _appearance(self._slow.released_by)
        return await super().get(key)


async def _appearance(file: Path | None) -> None:
    while file is not None and not file.exists():  # noqa: ASYNC240  (quick, and a test)
        await asyncio.sleep(0.005)


DRIVER = DriverSpec(
    name="slow",
    version="1.0",
    summary="Waits when told to.",
    settings=SlowSettings,
    factory=Slow,
    capabilities=MEMSTORE.capabilities,
)
