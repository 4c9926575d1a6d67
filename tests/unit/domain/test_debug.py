"""What a pattern tells of itself: numbered, bounded, counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from prism.domain.debug import LONGEST_TEXT, MOST_DETAILS, DebugBuffer
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel


class Clock:
    """Goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tell(events: DebugBuffer, *messages: str, kind: DebugKind = DebugKind.LOG) -> None:
    for message in messages:
        events.add(DebugLevel.INFO, kind, message)


def taken(events: DebugBuffer) -> Iterator[DebugEvent]:
    while (event := events.take()) is not None:
        yield event


def test_events_are_taken_in_order_and_numbered_from_1() -> None:
    events = DebugBuffer()
    tell(events, "a", "b")
    assert [(event.sequence, event.message) for event in taken(events)] == [(1, "a"), (2, "b")]
    tell(events, "c")
    assert [(event.sequence, event.message) for event in taken(events)] == [(3, "c")]
    assert events.take() is None


def test_what_is_too_many_at_once_is_dropped_and_counted_with_the_next(clock: Clock) -> None:
    events = DebugBuffer(rate=1, burst=2, clock=clock)
    tell(events, "a", "b", "c", "d")
    clock.now += 1
    tell(events, "e")
    found = [(event.sequence, event.message, event.dropped) for event in taken(events)]
    assert found == [(1, "a", 0), (2, "b", 0), (3, "e", 2)]


def test_a_flood_of_one_kind_drops_nothing_of_another(clock: Clock) -> None:
    events = DebugBuffer(rate=1, burst=1, clock=clock)
    tell(events, "a", "b")
    tell(events, "the driver runs", kind=DebugKind.STATE)
    assert [event.message for event in taken(events)] == ["a", "the driver runs"]


def test_when_too_many_are_held_the_oldest_go_and_are_counted(clock: Clock) -> None:
    events = DebugBuffer(held=2, clock=clock)
    tell(events, "a", "b", "c", "d")
    found = [(event.sequence, event.message, event.dropped) for event in taken(events)]
    assert found == [(1, "c", 2), (2, "d", 0)]


def test_when_one_is_held_and_no_more_those_before_are_counted(clock: Clock) -> None:
    events = DebugBuffer(held=1, clock=clock)
    tell(events, "a", "b", "c")
    assert [(event.message, event.dropped) for event in taken(events)] == [("c", 2)]


def test_the_end_of_a_flood_is_told(clock: Clock) -> None:
    events = DebugBuffer(rate=1, burst=1, clock=clock)
    tell(events, "a", "b", "c")
    assert [event.message for event in taken(events)] == ["a"]
    clock.now += 1
    last = events.take()
    assert last is not None
    assert (last.sequence, last.dropped, last.level) == (2, 2, DebugLevel.WARNING)
    assert last.message == "2 debug events were too many, and dropped"
    clock.now += 10
    assert events.take() is None


def test_every_event_is_taken_or_counted(clock: Clock) -> None:
    events = DebugBuffer(held=7, rate=3, burst=10, clock=clock)
    total = 0
    counted = 0
    for step in range(50):
        for _ in range(step % 9):
            tell(events, "x")
            total += 1
        clock.now += 0.3
        if step % 5 == 0:
            counted += sum(1 + event.dropped for event in taken(events))
    clock.now += 2
    counted += sum(event.dropped + (event.message == "x") for event in taken(events))
    assert counted == total


def test_the_last_that_were_taken_can_be_taken_again_as_they_were() -> None:
    events = DebugBuffer(kept=2)
    tell(events, "a", "b", "c")
    first = list(taken(events))
    events.rewind()
    tell(events, "d")
    again = list(taken(events))
    assert again[:2] == first[1:]
    assert [event.sequence for event in again] == [2, 3, 4]


def test_what_is_long_is_cut() -> None:
    events = DebugBuffer()
    details = {f"name{number}": "y" * 10_000 for number in range(100)}
    events.add(DebugLevel.INFO, DebugKind.LOG, "x" * 10_000, details)
    event = next(taken(events))
    assert len(event.message) == LONGEST_TEXT
    assert len(event.details) == MOST_DETAILS
    assert {len(text) for text in event.details.values()} == {LONGEST_TEXT}


def test_what_is_no_text_is_made_one() -> None:
    events = DebugBuffer()
    tell(events, "half of \ud83d")
    assert next(taken(events)).message == "half of ?"


def test_observers_are_called_until_they_leave() -> None:
    events = DebugBuffer()
    calls: list[int] = []
    leave = events.observe(lambda: calls.append(1))
    tell(events, "a")
    leave()
    tell(events, "b")
    assert calls == [1]


def test_every_thread_may_add() -> None:
    events = DebugBuffer(rate=1e6, burst=10_000, held=10_000)

    def flood() -> None:
        for _ in range(500):
            tell(events, "x")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.sequence for event in taken(events)] == list(range(1, 2001))
