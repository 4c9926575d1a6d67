from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from prism.adapters.wire.proxy_messages import (
    PatternDetails,
    PatternInfo,
    details_message,
    details_of,
    event_message,
    event_of,
    pattern_message,
    pattern_of,
)
from prism.domain.patterns.journal import MAX_DEBUG_EVENTS, DebugHistory
from prism.domain.patterns.values import (
    DebugEvent,
    DebugKind,
    DebugLevel,
    EventKind,
    PatternEvent,
    PatternState,
    PatternStatus,
    Registration,
)
from prism.ports import Health, HealthStatus, Internal

NOON = datetime(2030, 1, 2, 12, 0, 0, 1000, tzinfo=UTC)
EVENT = PatternEvent(7, NOON, "a", EventKind.HEALTH, "degraded: slow", {"ms": "900"})
SERVING = PatternStatus(
    name="a",
    driver="redis",
    state=PatternState.SERVING,
    reason="",
    process_id=42,
    registration=Registration("redis", "1.2", "", 42, "unix:/a.sock", "127.0.0.1:1"),
    serving_since=NOON,
    restarts=3,
    health=Health(HealthStatus.DEGRADED, "slow", {"keys": "5"}),
    in_flight=9,
)
STOPPED = PatternStatus(
    name="a",
    driver="redis",
    state=PatternState.STOPPED,
    reason="stopping",
    process_id=None,
    registration=None,
    serving_since=None,
    restarts=0,
    health=None,
    in_flight=0,
)


@pytest.mark.parametrize("status", [SERVING, STOPPED])
@pytest.mark.parametrize("is_default", [True, False])
def test_pattern_round_trips(status: PatternStatus, is_default: bool) -> None:
    info = PatternInfo(status, is_default)
    assert pattern_of(pattern_message(info)) == info


@pytest.mark.parametrize("state", PatternState)
def test_every_state_round_trips(state: PatternState) -> None:
    info = PatternInfo(replace(STOPPED, state=state), False)
    assert pattern_of(pattern_message(info)).status.state is state


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_round_trips(kind: EventKind) -> None:
    event = replace(EVENT, kind=kind)
    assert event_of(event_message(event)) == event


def test_details_round_trip() -> None:
    debug = DebugEvent(1, NOON, DebugLevel.INFO, DebugKind.LOG, "hello", {"x": "y"}, 2)
    sent = PatternDetails(PatternInfo(SERVING, True), [EVENT], [debug])
    assert details_of(details_message(sent)) == sent


def test_unknown_kinds_and_states_are_ignored_or_refused() -> None:
    event = event_message(EVENT)
    event.kind = 999  # type: ignore[assignment]
    assert event_of(event) is None
    pattern = pattern_message(PatternInfo(STOPPED, False))
    pattern.state = 999  # type: ignore[assignment]
    with pytest.raises(Internal, match="the pattern 'a' is in a state unknown here: 999"):
        pattern_of(pattern)


def test_lone_surrogates_are_replaced() -> None:
    odd = "caf\udce9"
    health = Health(HealthStatus.DEGRADED, odd, {odd: odd})
    event = replace(EVENT, message=odd, details={odd: odd})
    sent = PatternDetails(
        PatternInfo(replace(SERVING, reason=odd, health=health), True), [event], []
    )
    back = details_of(details_message(sent))
    assert back.pattern.status.reason == "caf?"
    assert back.pattern.status.health == Health(HealthStatus.DEGRADED, "caf?", {"caf?": "caf?"})
    assert back.events == [replace(EVENT, message="caf?", details={"caf?": "caf?"})]


def test_debug_history_fits_into_one_reply() -> None:
    history = DebugHistory()
    details = {f"{number}": "😀" * 1000 for number in range(50)}
    for sequence in range(1, 501):
        history.add(DebugEvent(sequence, NOON, DebugLevel.INFO, DebugKind.LOG, "x" * 1000, details))
    kept = list(history.events)
    assert kept[-1].sequence == 500
    sent = PatternDetails(PatternInfo(SERVING, True), [], kept)
    assert len(details_message(sent).SerializeToString()) < 1 << 20


def test_debug_history_is_bounded_in_number() -> None:
    history = DebugHistory()
    for sequence in range(1, MAX_DEBUG_EVENTS + 11):
        history.add(DebugEvent(sequence, NOON, DebugLevel.INFO, DebugKind.LOG, "hello"))
    assert [each.sequence for each in history.events] == list(range(11, MAX_DEBUG_EVENTS + 11))
