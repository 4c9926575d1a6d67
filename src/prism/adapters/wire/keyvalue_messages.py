"""Conversions between values of the ports and messages of keyvalue.proto and lifecycle.proto."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from prism.ports import (
    MAX_TTL,
    Capability,
    Change,
    Condition,
    Declaration,
    Delete,
    Event,
    HealthStatus,
    InvalidArgument,
    Limits,
    Presence,
    Profile,
    State,
    Support,
    Version,
    VersionKind,
    Write,
)
from prism.v1 import keyvalue_pb2 as pb
from prism.v1 import lifecycle_pb2 as lpb

_NANOS = 1_000_000_000
_MILLISECOND = timedelta(milliseconds=1)
_BEYOND = MAX_TTL + timedelta(days=1)
_BEYOND_S = int(_BEYOND.total_seconds())

_CAPABILITIES = {
    Capability.TTL: pb.CAPABILITY_NAME_TTL,
    Capability.COMPARE_AND_SET: pb.CAPABILITY_NAME_COMPARE_AND_SET,
    Capability.BATCH: pb.CAPABILITY_NAME_BATCH,
    Capability.SCAN: pb.CAPABILITY_NAME_SCAN,
    Capability.COUNTER: pb.CAPABILITY_NAME_COUNTER,
    Capability.WATCH: pb.CAPABILITY_NAME_WATCH,
    Capability.TRANSACTIONS: pb.CAPABILITY_NAME_TRANSACTIONS,
}
_SUPPORTS = {Support.NATIVE: pb.SUPPORT_NATIVE, Support.EMULATED: pb.SUPPORT_EMULATED}
_VERSION_KINDS = {
    VersionKind.REVISION: pb.VERSION_KIND_REVISION,
    VersionKind.DIGEST: pb.VERSION_KIND_DIGEST,
}
_CHANGES: dict[Change, pb.WatchEventType] = {
    change: getattr(pb, f"WATCH_EVENT_TYPE_{change.name}") for change in Change
}
STATES: dict[State, lpb.LifecycleState] = {
    state: getattr(lpb, f"LIFECYCLE_STATE_{state.name}") for state in State
}
HEALTH: dict[HealthStatus, lpb.HealthStatus] = {
    status: getattr(lpb, f"HEALTH_STATUS_{status.name}") for status in HealthStatus
}

CAPABILITY_OF = {wire: capability for capability, wire in _CAPABILITIES.items()}
_SUPPORT_OF = {wire: support for support, wire in _SUPPORTS.items()}
_VERSION_KIND_OF = {wire: kind for kind, wire in _VERSION_KINDS.items()}
_CHANGE_OF = {wire: change for change, wire in _CHANGES.items()}
STATE_OF = {wire: state for state, wire in STATES.items()}
HEALTH_OF = {wire: status for status, wire in HEALTH.items()}


def timedelta_of(duration: Duration) -> timedelta:
    """Convert a duration, rounded up to a microsecond and clamped to just beyond `MAX_TTL`.

    Raises:
        InvalidArgument: seconds and nanos are inconsistent.
    """
    if not -_NANOS < duration.nanos < _NANOS or duration.seconds * duration.nanos < 0:
        raise InvalidArgument(
            f"seconds {duration.seconds} and nanos {duration.nanos} are not a valid duration: "
            "nanos must be below a second and have the sign of seconds"
        )
    seconds = max(-_BEYOND_S, min(duration.seconds, _BEYOND_S))
    return timedelta(seconds=seconds, microseconds=-(-duration.nanos // 1000))


def duration_of(delta: timedelta) -> Duration:
    """Convert a timedelta, exactly."""
    duration = Duration()
    duration.FromTimedelta(delta)
    return duration


def milliseconds_of(ttl: timedelta | None) -> int:
    """Encode a ttl of a batch: rounded up, 0 for None, negative if the ttl is not positive."""
    if ttl is None:
        return 0
    return -(-ttl // _MILLISECOND) or -1


def ttl_of_milliseconds(milliseconds: int) -> timedelta | None:
    """Decode a ttl of a batch, clamped to just beyond `MAX_TTL`."""
    if milliseconds == 0:
        return None
    beyond = _BEYOND_S * 1000
    return timedelta(milliseconds=max(-beyond, min(milliseconds, beyond)))


def timestamp_of(milliseconds: int) -> Timestamp:
    """Convert milliseconds since the Unix epoch."""
    return Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def milliseconds_since_epoch(timestamp: Timestamp) -> int:
    """Convert a timestamp; the inverse of `timestamp_of`."""
    return timestamp.seconds * 1000 + timestamp.nanos // 1_000_000


def condition_message(condition: Condition) -> pb.Condition:
    """Convert a condition of a transaction to a message."""
    key, expected = condition
    if isinstance(expected, Presence):
        return pb.Condition(key=key, exists=expected is Presence.PRESENT)
    return pb.Condition(key=key, version=expected)


def write_message(write: Write) -> pb.Write:
    """Convert a write of a transaction to a message."""
    if isinstance(write, Delete):
        return pb.Write(key=write.key, delete=True)
    ttl = None if write.ttl is None else duration_of(write.ttl)
    return pb.Write(key=write.key, value=write.value, ttl=ttl)


def watch_event(event: Event) -> pb.WatchResponse:
    """Convert an event to a message of a watch."""
    change, key, value, version = event
    return pb.WatchResponse(
        event=pb.WatchEvent(type=_CHANGES[change], key=key, value=value, version=version)
    )


def event_of(message: pb.WatchEvent) -> Event | None:
    """Convert a message to an event; None: its type is unknown to this version."""
    change = _CHANGE_OF.get(message.type)
    if change is None:
        return None
    return Event(
        change,
        message.key,
        message.value if message.HasField("value") else None,
        Version(message.version) if message.HasField("version") else None,
    )


def capabilities_of(profile: Profile) -> pb.GetCapabilitiesResponse:
    """Convert a profile to a message."""
    limits = profile.limits
    return pb.GetCapabilitiesResponse(
        driver=profile.driver,
        driver_version=profile.version,
        version_kind=_VERSION_KINDS[profile.version_kind],
        capabilities=[
            _capability_message(capability, declared)
            for capability, declared in profile.capabilities.items()
        ],
        limits=pb.Limits(
            max_key_bytes=limits.max_key_bytes,
            max_value_bytes=limits.max_value_bytes,
            max_batch_items=limits.max_batch_items,
            max_batch_bytes=limits.max_batch_bytes,
            max_page_size=limits.max_page_size,
        ),
        ephemeral=profile.ephemeral,
        shared=profile.shared,
    )


def profile_of(message: pb.GetCapabilitiesResponse) -> Profile:
    """Convert a message to a profile, without capabilities unknown to this version."""
    limits = message.limits
    return Profile(
        driver=message.driver,
        version=message.driver_version,
        version_kind=_VERSION_KIND_OF.get(message.version_kind, VersionKind.DIGEST),
        capabilities={
            CAPABILITY_OF[capability.name]: _declaration_of(capability)
            for capability in message.capabilities
            if capability.name in CAPABILITY_OF
        },
        limits=Limits(
            max_key_bytes=limits.max_key_bytes,
            max_value_bytes=limits.max_value_bytes,
            max_batch_items=limits.max_batch_items,
            max_batch_bytes=limits.max_batch_bytes,
            max_page_size=limits.max_page_size,
        ),
        ephemeral=message.ephemeral,
        shared=message.shared,
    )


def _capability_message(capability: Capability, declared: Declaration) -> pb.Capability:
    message = pb.Capability(
        name=_CAPABILITIES[capability],
        support=_SUPPORTS[declared.support],
        granularity=duration_of(declared.granularity) if declared.granularity else None,
        clock_error=duration_of(declared.clock_error) if declared.clock_error else None,
        notes=declared.notes,
    )
    if capability is Capability.WATCH:
        message.event_values = declared.event_values
        if declared.event_delay is not None:
            message.event_delay.CopyFrom(duration_of(declared.event_delay))
    return message


def _declaration_of(message: pb.Capability) -> Declaration:
    declared = Declaration(
        support=_SUPPORT_OF.get(message.support, Support.EMULATED),
        granularity=timedelta_of(message.granularity),
        clock_error=timedelta_of(message.clock_error),
        notes=message.notes,
    )
    if CAPABILITY_OF[message.name] is not Capability.WATCH:
        return declared
    delay = timedelta_of(message.event_delay) if message.HasField("event_delay") else None
    return replace(declared, event_values=message.event_values, event_delay=delay)


def seconds_of(name: str, duration: timedelta) -> float:
    """Return a duration in seconds.

    Raises:
        TypeError: the argument of this name is not a timedelta, but perhaps a number.
    """
    if not isinstance(duration, timedelta):
        raise TypeError(f"{name} is {duration!r}: give a timedelta, as timedelta(seconds=5)")
    return duration.total_seconds()
