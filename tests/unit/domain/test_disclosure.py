"""What changes in a server becomes debug events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from prism.domain.debug import DebugBuffer
from prism.domain.disclosure import Disclosure
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel
from prism.domain.readiness import ReadinessMonitor
from prism.ports import Health, HealthStatus, InvalidArgument


def taken(events: DebugBuffer, kind: DebugKind) -> Iterator[DebugEvent]:
    while (event := events.take()) is not None:
        if event.kind is kind:
            yield event


async def test_states_and_readiness_are_told_in_order(build: Any) -> None:
    house = build()
    events = DebugBuffer()
    Disclosure(events, house.lifecycle, ReadinessMonitor(house.lifecycle))
    await house.run()
    await house.lifecycle.drain()
    assert [event.message for event in taken(events, DebugKind.STATE)] == [
        "the driver is initialized",
        "ready",
        "the driver is running",
        "not ready: the driver is draining",
        "the driver is draining",
    ]


async def test_why_it_failed_is_told(build: Any) -> None:
    house = build()
    events = DebugBuffer()
    Disclosure(events, house.lifecycle, ReadinessMonitor(house.lifecycle))
    with pytest.raises(InvalidArgument):
        await house.lifecycle.initialize({"colour": "red"})
    failed = next(e for e in taken(events, DebugKind.STATE) if e.level is DebugLevel.ERROR)
    assert failed.message.startswith("the driver is failed: initialize failed: unknown setting")
    assert failed.details == {"state": "failed"}


async def test_how_the_backend_fares_is_told_when_that_is_new(build: Any) -> None:
    house = build()
    events = DebugBuffer()
    disclosure = Disclosure(events, house.lifecycle, ReadinessMonitor(house.lifecycle))
    well = Health(HealthStatus.HEALTHY, "1 key", {"keys": "1"})
    disclosure.checked(well)
    disclosure.checked(well)
    disclosure.checked(Health(HealthStatus.UNHEALTHY, "it is away", {"last_error": "refused"}))
    found = list(taken(events, DebugKind.BACKEND))
    assert [(event.level, event.message) for event in found] == [
        (DebugLevel.INFO, "1 key"),
        (DebugLevel.ERROR, "it is away"),
    ]
    assert found[0].details == {"keys": "1", "status": "healthy"}
    assert found[1].details == {"last_error": "refused", "status": "unhealthy"}
