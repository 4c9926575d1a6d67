"""Drivers that misbehave in their processes, each in one way."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from prism.adapters.memstore import DRIVER as MEMSTORE
from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.ports import (
    STOP_TIMEOUT,
    BackendUnavailable,
    DriverSpec,
    Entry,
    Health,
    HealthStatus,
    setting,
)


@dataclass(frozen=True, slots=True)
class _LeakingSettings(MemstoreSettings):
    password: str = setting("", help="Quoted in errors and health.", secret=True)
    reachable: bool = setting(True, help="Off: initialize fails.")


def _spec(name: str, factory: Callable[[], Memstore]) -> DriverSpec:
    return DriverSpec(
        name=name,
        version="1.0",
        summary="For tests.",
        settings=MemstoreSettings,
        factory=factory,
        capabilities=MEMSTORE.capabilities,
    )


def _crashing() -> Memstore:
    sys.stderr.write("crashed by the test\n")
    sys.stderr.flush()
    os._exit(3)


def _mute() -> Memstore:
    sys.stderr.write('{"level": "info", "message": "hanging"}\n')
    sys.stderr.flush()
    time.sleep(3600)
    raise AssertionError


def _outdated() -> Memstore:
    from prism.adapters.control import client

    vars(client)["PROTOCOL_VERSION"] = 9
    return Memstore()


def _impostor() -> Memstore:
    from prism.bootstrap.managed.lifeline import Lifeline

    async def token(self: Lifeline) -> str:
        await _original(self)
        return "a-token-that-was-never-issued"

    _original = Lifeline.token
    Lifeline.token = token  # type: ignore[method-assign]
    return Memstore()


class _Flooding(Memstore):
    async def start(self) -> None:
        await super().start()
        threading.Thread(target=self._flood, daemon=True).start()

    def _flood(self) -> None:
        line = "x" * 200
        while True:
            for number in range(1000):
                sys.stdout.write(f"{number} {line}\n")
            time.sleep(0.001)


class _Stubborn(Memstore):
    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        # Blocks the event loop, so that neither a command nor SIGTERM is handled.
        time.sleep(3600)  # noqa: ASYNC251


class _Leaking(Memstore):
    async def initialize(self, settings: Any) -> None:
        self._password = settings.password
        if not settings.reachable:
            raise BackendUnavailable(f"cannot log in with {self._password}")
        await super().initialize(settings)

    async def get(self, key: str) -> Entry | None:
        raise BackendUnavailable(f"AUTH {self._password} was refused")

    async def health(self) -> Health:
        words = f"AUTH {self._password} was refused"
        return Health(HealthStatus.DEGRADED, words, {"last_error": words})


def _unreadable() -> Memstore:
    # A lone surrogate, an escape sequence that clears the screen, and a line break.
    sys.stderr.write('{"level": "error", "message": "caf\\udce9 \\u001b[2J\\nready"}\n')
    sys.stderr.flush()
    os._exit(3)


LEAKING = replace(_spec("leaking", _Leaking), settings=_LeakingSettings)
CRASHING = _spec("crashing", _crashing)
FLOODING = _spec("flooding", _Flooding)
IMPOSTOR = _spec("impostor", _impostor)
MUTE = _spec("mute", _mute)
OUTDATED = _spec("outdated", _outdated)
STUBBORN = _spec("stubborn", _Stubborn)
UNREADABLE = _spec("unreadable", _unreadable)
