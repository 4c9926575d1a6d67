"""Conversions between values of patterns and messages of proxy.proto."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from prism.adapters.wire.keyvalue_messages import HEALTH, HEALTH_OF
from prism.adapters.wire.pattern_messages import debug_event_message, debug_event_of
from prism.adapters.wire.status import sendable
from prism.domain.patterns.values import (
    DebugEvent,
    EventKind,
    PatternEvent,
    PatternState,
    PatternStatus,
    Registration,
)
from prism.ports import Health, HealthStatus, Internal
from prism.v1 import lifecycle_pb2 as lpb
from prism.v1 import proxy_pb2 as pb

_STATES: dict[PatternState, pb.PatternState] = {
    state: getattr(pb, f"PATTERN_STATE_{state.name}") for state in PatternState
}
_KINDS: dict[EventKind, pb.PatternEventKind] = {
    kind: getattr(pb, f"PATTERN_EVENT_KIND_{kind.name}") for kind in EventKind
}
_STATE_OF = {wire: state for state, wire in _STATES.items()}
_KIND_OF = {wire: kind for kind, wire in _KINDS.items()}


class PatternInfo(NamedTuple):
    """Pattern as shown to an operator.

    Attributes:
        is_default: whether it serves calls that name no pattern.
    """

    status: PatternStatus
    is_default: bool


class PatternDetails(NamedTuple):
    """Pattern with its events, and the latest debug events of its process."""

    pattern: PatternInfo
    events: list[PatternEvent]
    debug_events: list[DebugEvent]


def pattern_message(info: PatternInfo) -> pb.Pattern:
    status, is_default = info
    registration = status.registration
    message = pb.Pattern(
        name=status.name,
        driver=status.driver,
        state=_STATES[status.state],
        reason=sendable(status.reason),
        process_id=status.process_id,
        restarts=status.restarts,
        is_default=is_default,
        in_flight=status.in_flight,
    )
    if registration is not None:
        message.driver_version = registration.driver_version
        message.data_address = registration.data_address
        message.metrics_address = registration.metrics_address
    if status.serving_since is not None:
        message.serving_since.CopyFrom(_timestamp_of(status.serving_since))
    if status.health is not None:
        message.health.status = HEALTH[status.health.status]
        message.health.message = sendable(status.health.message)
        message.health.details.update(_sendable_pairs(status.health.details))
    return message


def pattern_of(message: pb.Pattern) -> PatternInfo:
    """Convert a message to a pattern.

    Raises:
        Internal: its state is unknown to this version.
    """
    state = _STATE_OF.get(message.state)
    if state is None:
        raise Internal(f"the pattern {message.name!r} is in a state unknown here: {message.state}")
    has_process = message.HasField("process_id")
    registration = Registration(
        driver=message.driver,
        driver_version=message.driver_version,
        prism_version="",
        process_id=message.process_id,
        data_address=message.data_address,
        metrics_address=message.metrics_address,
    )
    status = PatternStatus(
        name=message.name,
        driver=message.driver,
        state=state,
        reason=message.reason,
        process_id=message.process_id if has_process else None,
        registration=registration if message.data_address else None,
        serving_since=_moment_of(message.serving_since)
        if message.HasField("serving_since")
        else None,
        restarts=message.restarts,
        health=_health_of(message.health) if message.HasField("health") else None,
        in_flight=message.in_flight,
    )
    return PatternInfo(status, message.is_default)


def event_message(event: PatternEvent) -> pb.PatternEvent:
    return pb.PatternEvent(
        sequence=event.sequence,
        time=_timestamp_of(event.time),
        pattern=event.pattern,
        kind=_KINDS[event.kind],
        message=sendable(event.message),
        details=_sendable_pairs(event.details),
    )


def event_of(message: pb.PatternEvent) -> PatternEvent | None:
    """Convert a message to an event; None: its kind is unknown to this version."""
    kind = _KIND_OF.get(message.kind)
    if kind is None:
        return None
    return PatternEvent(
        sequence=message.sequence,
        time=_moment_of(message.time),
        pattern=message.pattern,
        kind=kind,
        message=message.message,
        details=dict(message.details),
    )


def details_message(details: PatternDetails) -> pb.GetPatternResponse:
    return pb.GetPatternResponse(
        pattern=pattern_message(details.pattern),
        events=map(event_message, details.events),
        debug_events=map(debug_event_message, details.debug_events),
    )


def details_of(message: pb.GetPatternResponse) -> PatternDetails:
    """Convert a message to details, without events of unknown kinds."""
    events = (event_of(each) for each in message.events)
    debug_events = (debug_event_of(each) for each in message.debug_events)
    return PatternDetails(
        pattern_of(message.pattern),
        [each for each in events if each is not None],
        [each for each in debug_events if each is not None],
    )


def _sendable_pairs(texts: Mapping[str, str]) -> dict[str, str]:
    return {sendable(name): sendable(text) for name, text in texts.items()}


def _health_of(message: lpb.HealthCheckResponse) -> Health:
    return Health(
        HEALTH_OF.get(message.status, HealthStatus.UNHEALTHY),
        message.message,
        dict(message.details),
    )


def _timestamp_of(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def _moment_of(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
