"""Conversions between values of patterns and messages of pattern.proto."""

from __future__ import annotations

from datetime import UTC
from itertools import islice

from google.protobuf.timestamp_pb2 import Timestamp

from prism.adapters.wire.keyvalue_messages import CAPABILITY_OF, STATE_OF
from prism.adapters.wire.status import sendable
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel, Registration
from prism.ports import InvalidArgument, State
from prism.v1 import pattern_pb2 as pb

PROTOCOL_VERSION = 2

# Limit per event, because hundreds of events are kept.
_MOST_DETAILS = 50

_LEVELS: dict[DebugLevel, pb.DebugLevel] = {
    level: getattr(pb, f"DEBUG_LEVEL_{level.name}") for level in DebugLevel
}
_KINDS: dict[DebugKind, pb.DebugKind] = {
    kind: getattr(pb, f"DEBUG_KIND_{kind.name}") for kind in DebugKind
}
_LEVEL_OF = {wire: level for level, wire in _LEVELS.items()}
_KIND_OF = {wire: kind for kind, wire in _KINDS.items()}


def registration_of(message: pb.Registration) -> Registration:
    """Convert a registration, without capabilities unknown to this version.

    Raises:
        InvalidArgument: the driver or the address of the data is missing.
    """
    for name in ("driver", "data_address"):
        if not getattr(message, name):
            raise InvalidArgument(f"the registration has no {name}")
    return Registration(
        driver=sendable(message.driver),
        driver_version=sendable(message.driver_version),
        prism_version=sendable(message.prism_version),
        process_id=message.process_id,
        data_address=message.data_address,
        metrics_address=message.metrics_address,
        capabilities=frozenset(
            CAPABILITY_OF[each.name] for each in message.capabilities if each.name in CAPABILITY_OF
        ),
        state=STATE_OF.get(message.state, State.CREATED),
    )


def debug_event_message(event: DebugEvent) -> pb.DebugEvent:
    """Convert a debug event to a message."""
    time = Timestamp()
    time.FromDatetime(event.time)
    return pb.DebugEvent(
        sequence=event.sequence,
        time=time,
        level=_LEVELS[event.level],
        kind=_KINDS[event.kind],
        message=sendable(event.message),
        details={sendable(name): sendable(text) for name, text in event.details.items()},
        dropped=event.dropped,
    )


def debug_event_of(message: pb.DebugEvent) -> DebugEvent | None:
    """Convert a debug event, shortened to what is kept; None: its kind or level is unknown.

    Raises:
        InvalidArgument: its time is out of range.
    """
    level, kind = _LEVEL_OF.get(message.level), _KIND_OF.get(message.kind)
    if level is None or kind is None:
        return None
    try:
        time = message.time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"the debug event {message.sequence} has an invalid time: "
            f"seconds {message.time.seconds}, nanos {message.time.nanos}"
        ) from None
    details = islice(message.details.items(), _MOST_DETAILS)
    return DebugEvent(
        sequence=message.sequence,
        time=time,
        level=level,
        kind=kind,
        message=sendable(message.message),
        details={sendable(name): sendable(text) for name, text in details},
        dropped=message.dropped,
    )
