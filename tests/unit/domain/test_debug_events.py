"""Debug events: their sources, order, numbers, bounds and counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from prism.domain.debug_events import (
    MAX_DETAILS,
    MAX_TEXT_LENGTH,
    DebugEventBuffer,
    DebugEventPublisher,
)
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel
from prism.domain.readiness import ReadinessMonitor
from prism.ports import Health, HealthStatus, InvalidArgument


class Clock:
    """Clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def add(events: DebugEventBuffer, *messages: str, kind: DebugKind = DebugKind.LOG) -> None:
    for message in messages:
        events.add(DebugLevel.INFO, kind, message)


def taken(events: DebugEventBuffer) -> Iterator[DebugEvent]:
    while (event := events.take()) is not None:
        yield event


def test_events_are_taken_in_order_and_numbered_from_1() -> None:
    events = DebugEventBuffer()
    add(events, "a", "b")
    assert [(event.sequence, event.message) for event in taken(events)] == [(1, "a"), (2, "b")]
    add(events, "c")
    assert [(event.sequence, event.message) for event in taken(events)] == [(3, "c")]
    assert events.take() is None


def test_events_over_the_rate_are_dropped_and_counted_in_the_next_event(clock: Clock) -> None:
    events = DebugEventBuffer(rate=1, burst=2, clock=clock)
    add(events, "a", "b", "c", "d")
    clock.now += 1
    add(events, "e")
    found = [(event.sequence, event.message, event.dropped) for event in taken(events)]
    assert found == [(1, "a", 0), (2, "b", 0), (3, "e", 2)]


def test_a_flood_of_one_kind_drops_no_event_of_another_kind(clock: Clock) -> None:
    events = DebugEventBuffer(rate=1, burst=1, clock=clock)
    add(events, "a", "b")
    add(events, "the driver runs", kind=DebugKind.STATE)
    assert [event.message for event in taken(events)] == ["a", "the driver runs"]


def test_a_full_buffer_drops_and_counts_the_oldest_events(clock: Clock) -> None:
    events = DebugEventBuffer(capacity=2, clock=clock)
    add(events, "a", "b", "c", "d")
    found = [(event.sequence, event.message, event.dropped) for event in taken(events)]
    assert found == [(1, "c", 2), (2, "d", 0)]


def test_a_buffer_of_one_event_counts_all_events_before_it(clock: Clock) -> None:
    events = DebugEventBuffer(capacity=1, clock=clock)
    add(events, "a", "b", "c")
    assert [(event.message, event.dropped) for event in taken(events)] == [("c", 2)]


def test_a_warning_reports_the_events_dropped_in_a_flood(clock: Clock) -> None:
    events = DebugEventBuffer(rate=1, burst=1, clock=clock)
    add(events, "a", "b", "c")
    assert [event.message for event in taken(events)] == ["a"]
    clock.now += 1
    last = events.take()
    assert last is not None
    assert (last.sequence, last.dropped, last.level) == (2, 2, DebugLevel.WARNING)
    assert last.message == "2 debug events were dropped because there were too many"
    clock.now += 10
    assert events.take() is None


def test_every_event_is_either_taken_or_counted_as_dropped(clock: Clock) -> None:
    events = DebugEventBuffer(capacity=7, rate=3, burst=10, clock=clock)
    total = 0
    counted = 0
    for step in range(50):
        for _ in range(step % 9):
            add(events, "x")
            total += 1
        clock.now += 0.3
        if step % 5 == 0:
            counted += sum(1 + event.dropped for event in taken(events))
    clock.now += 2
    counted += sum(event.dropped + (event.message == "x") for event in taken(events))
    assert counted == total


def test_the_last_events_taken_can_be_taken_again_unchanged() -> None:
    events = DebugEventBuffer(replayable=2)
    add(events, "a", "b", "c")
    first = list(taken(events))
    events.rewind()
    add(events, "d")
    again = list(taken(events))
    assert again[:2] == first[1:]
    assert [event.sequence for event in again] == [2, 3, 4]


def test_long_texts_and_many_details_are_cut() -> None:
    events = DebugEventBuffer()
    details = {f"name{number}": "y" * 10_000 for number in range(100)}
    events.add(DebugLevel.INFO, DebugKind.LOG, "x" * 10_000, details)
    event = next(taken(events))
    assert len(event.message) == MAX_TEXT_LENGTH
    assert len(event.details) == MAX_DETAILS
    assert {len(text) for text in event.details.values()} == {MAX_TEXT_LENGTH}


def test_a_lone_surrogate_is_replaced() -> None:
    events = DebugEventBuffer()
    add(events, "half of \ud83d")
    assert next(taken(events)).message == "half of ?"


def test_observers_are_called_until_they_are_removed() -> None:
    events = DebugEventBuffer()
    calls: list[int] = []
    remove = events.observe(lambda: calls.append(1))
    add(events, "a")
    remove()
    add(events, "b")
    assert calls == [1]


def test_events_can_be_added_from_any_thread() -> None:
    events = DebugEventBuffer(rate=1e6, burst=10_000, capacity=10_000)

    def flood() -> None:
        for _ in range(500):
            add(events, "x")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.sequence for event in taken(events)] == list(range(1, 2001))


def published(build: Any) -> tuple[Any, DebugEventBuffer, DebugEventPublisher]:
    assembly = build()
    events = DebugEventBuffer()
    publisher = DebugEventPublisher(
        events, assembly.lifecycle, ReadinessMonitor(assembly.lifecycle)
    )
    return assembly, events, publisher


def of_kind(events: DebugEventBuffer, kind: DebugKind) -> list[DebugEvent]:
    return [event for event in taken(events) if event.kind is kind]


async def test_changes_of_state_and_readiness_are_published_in_order(build: Any) -> None:
    assembly, events, _ = published(build)
    await assembly.run()
    await assembly.lifecycle.drain()
    assert [event.message for event in of_kind(events, DebugKind.STATE)] == [
        "the driver is initialized",
        "ready",
        "the driver is running",
        "not ready: the driver is draining",
        "the driver is draining",
    ]


async def test_a_failed_state_is_published_with_its_reason(build: Any) -> None:
    assembly, events, _ = published(build)
    with pytest.raises(InvalidArgument):
        await assembly.lifecycle.initialize({"colour": "red"})
    (failed,) = [e for e in of_kind(events, DebugKind.STATE) if e.level is DebugLevel.ERROR]
    assert failed.message.startswith("the driver is failed: initialize failed: unknown setting")
    assert failed.details == {"state": "failed"}


async def test_backend_health_is_published_when_it_changes(build: Any) -> None:
    _, events, publisher = published(build)
    healthy = Health(HealthStatus.HEALTHY, "1 key", {"keys": "1"})
    publisher.health_checked(healthy)
    publisher.health_checked(healthy)
    publisher.health_checked(
        Health(HealthStatus.UNHEALTHY, "no connection", {"last_error": "refused"})
    )
    found = of_kind(events, DebugKind.BACKEND)
    assert [(event.level, event.message) for event in found] == [
        (DebugLevel.INFO, "1 key"),
        (DebugLevel.ERROR, "no connection"),
    ]
    assert found[0].details == {"keys": "1", "status": "healthy"}
    assert found[1].details == {"last_error": "refused", "status": "unhealthy"}
