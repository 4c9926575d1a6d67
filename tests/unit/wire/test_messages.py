"""Conversions between values and messages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from prism.adapters.wire.keyvalue_messages import (
    capabilities_of,
    duration_of,
    event_of,
    milliseconds_of,
    milliseconds_since_epoch,
    profile_of,
    timedelta_of,
    timestamp_of,
    ttl_of_milliseconds,
    watch_event,
)
from prism.adapters.wire.methods import METHODS
from prism.ports import (
    MAX_TTL,
    Capability,
    Change,
    Declaration,
    Event,
    InvalidArgument,
    Limits,
    Profile,
    Support,
    Version,
    VersionKind,
)
from prism.v1 import keyvalue_pb2 as pb


@pytest.mark.parametrize(
    ("duration", "delta"),
    [
        (Duration(seconds=2, nanos=500_000_000), timedelta(seconds=2.5)),
        (Duration(nanos=1), timedelta(microseconds=1)),
        (Duration(nanos=1001), timedelta(microseconds=2)),
        (Duration(seconds=-1, nanos=-500_000_000), timedelta(seconds=-1.5)),
        (Duration(), timedelta()),
    ],
)
def test_duration_is_rounded_up_to_a_microsecond(duration: Duration, delta: timedelta) -> None:
    assert timedelta_of(duration) == delta


@pytest.mark.parametrize("seconds", [(1 << 63) - 1, 10**12])
def test_duration_far_out_of_range_stays_out_of_range(seconds: int) -> None:
    assert timedelta_of(Duration(seconds=seconds)) > MAX_TTL
    assert timedelta_of(Duration(seconds=-seconds)) < timedelta()
    assert (ttl_of_milliseconds(seconds * 1000 % (1 << 63)) or timedelta()) > MAX_TTL


@pytest.mark.parametrize(
    ("ttl", "milliseconds"),
    [
        (None, 0),
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=2), 2),
        (timedelta(milliseconds=2, microseconds=1), 3),
    ],
)
def test_ttl_in_a_batch_is_rounded_up(ttl: timedelta | None, milliseconds: int) -> None:
    assert milliseconds_of(ttl) == milliseconds


@pytest.mark.parametrize("ttl", [timedelta(), timedelta(microseconds=-1), timedelta(days=-9)])
def test_invalid_ttl_in_a_batch_never_becomes_none(ttl: timedelta) -> None:
    assert milliseconds_of(ttl) < 0


@pytest.mark.parametrize("delta", [timedelta(microseconds=1), MAX_TTL, timedelta(seconds=-1.5)])
def test_timedelta_survives_a_round_trip(delta: timedelta) -> None:
    assert timedelta_of(duration_of(delta)) == delta


@pytest.mark.parametrize("milliseconds", [0, 1, 1_795_473_048_795])
def test_point_in_time_survives_a_round_trip(milliseconds: int) -> None:
    assert milliseconds_since_epoch(timestamp_of(milliseconds)) == milliseconds


@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize("delay", [None, timedelta(), timedelta(seconds=1.5)])
def test_profile_survives_a_round_trip(values: bool, delay: timedelta | None) -> None:
    profile = Profile(
        driver="d",
        version="1.2",
        version_kind=VersionKind.DIGEST,
        capabilities={
            Capability.TTL: Declaration(
                Support.EMULATED, timedelta(seconds=1), timedelta(milliseconds=50), "rounds up"
            ),
            Capability.SCAN: Declaration(),
            Capability.WATCH: Declaration(event_values=values, event_delay=delay),
        },
        limits=Limits(max_value_bytes=7, max_batch_items=8, max_batch_bytes=9, max_page_size=10),
    )
    assert profile_of(capabilities_of(profile)) == profile


@pytest.mark.parametrize(
    "event",
    [
        Event(Change.PUT, "k", b"value", Version((1 << 64) - 1)),
        Event(Change.PUT, "k", b"", Version(0)),
        Event(Change.PUT, "k"),
        Event(Change.DELETE, "k"),
        Event(Change.EXPIRE, "\0é"),
    ],
)
def test_event_survives_a_round_trip(event: Event) -> None:
    assert event_of(watch_event(event).event) == event


def test_event_of_an_unknown_type_is_none() -> None:
    assert event_of(pb.WatchEvent(type=99, key="k")) is None  # type: ignore[arg-type]


def test_unknown_capabilities_of_a_newer_server_are_omitted() -> None:
    message = pb.GetCapabilitiesResponse(version_kind=99)  # type: ignore[arg-type]
    message.capabilities.add(name=99)
    profile = profile_of(message)
    assert profile.capabilities == {}
    assert profile.version_kind is VersionKind.DIGEST


@pytest.mark.parametrize(
    "duration",
    [
        Duration(seconds=1, nanos=-500_000_000),
        Duration(seconds=-1, nanos=500_000_000),
        Duration(nanos=1_000_000_000),
        Duration(nanos=-(1 << 31)),
    ],
)
def test_inconsistent_seconds_and_nanos_are_refused(duration: Duration) -> None:
    with pytest.raises(InvalidArgument, match="not a valid duration"):
        timedelta_of(duration)


def test_every_operation_of_a_stream_derives_from_the_table_of_operations() -> None:
    fields = [each.name for each in pb.Operation.DESCRIPTOR.oneofs_by_name["operation"].fields]
    assert sorted(METHODS) == sorted(fields)


@pytest.mark.parametrize(
    ("request_message", "field", "operation"),
    [
        (pb.SetRequest(key="k"), "set", "set"),
        (pb.SetRequest(key="k", if_absent=True), "set", "compare_and_set"),
        (pb.SetRequest(key="k", if_version=0), "set", "compare_and_set"),
        (pb.DeleteRequest(key="k"), "delete", "delete"),
        (pb.DeleteRequest(key="k", if_version=0), "delete", "compare_and_delete"),
        (pb.GetTtlRequest(key="k"), "get_ttl", "ttl"),
    ],
)
def test_condition_of_a_request_messageselects_the_operation(
    request_message: Message, field: str, operation: str
) -> None:
    assert METHODS[field].operation_of(request_message) == operation
