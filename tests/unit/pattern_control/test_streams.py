"""Control streams that break, fall silent or are replaced; and debug events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from prism.adapters.grpc.servicers.pattern_control import ControlPlaneOptions
from prism.adapters.wire.pattern_messages import debug_event_message
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel, EventKind
from prism.v1 import pattern_pb2 as pb
from tests.unit.pattern_control.conftest import Serve, Stream, registration, until

QUICK = ControlPlaneOptions(
    heartbeat_interval=timedelta(seconds=0.1), lost_after=timedelta(seconds=0.3)
)


async def beat(stream: Stream) -> None:
    while True:
        await stream.send(heartbeat=pb.Heartbeat())
        await asyncio.sleep(0.05)


async def test_heartbeats_keep_a_stream_open(
    serve: Serve,
) -> None:
    control_plane = await serve(QUICK)
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    beating = asyncio.create_task(beat(stream))
    reading = asyncio.create_task(stream.read())
    await until(lambda: stream.heartbeats >= 5)
    assert not reading.done()
    assert expected.events == []
    beating.cancel()
    reading.cancel()


async def test_silence_ends_a_stream(
    serve: Serve,
) -> None:
    control_plane = await serve(QUICK)
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    code, message = await stream.refusal()
    assert code == grpc.StatusCode.UNAVAILABLE
    assert message == "nothing was heard from it for 0.2 s"
    await until(lambda: expected.events)
    assert expected.events == [
        (EventKind.LOST, "its control stream broke: nothing was heard from it for 0.2 s")
    ]


@pytest.mark.parametrize("how", ["cancel", "half-close"])
async def test_pattern_may_return_after_its_stream_broke(serve: Serve, how: str) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, accepted = await control_plane.register(expected.pending.token)
    session = await expected.session()
    if how == "cancel":
        stream.call.cancel()
    else:
        await stream.call.done_writing()
        assert await stream.read() is None
    await until(lambda: expected.events)
    _, second = await control_plane.register(accepted.session, data_address="127.0.0.1:9")
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]
    assert second.session == accepted.session
    assert session.registration.data_address == "127.0.0.1:9"


async def test_pattern_that_does_not_return_is_lost(serve: Serve) -> None:
    control_plane = await serve(QUICK)
    expected = control_plane.expect()
    stream, accepted = await control_plane.register(expected.pending.token)
    session = await expected.session()
    stream.call.cancel()
    async with asyncio.timeout(20):
        why = await session.wait_lost()
    assert why.startswith(
        "the pattern 'sessions' did not return within 0.3 s after its control stream broke: "
    )
    assert expected.kinds == [EventKind.LOST]
    # A return comes too late.
    again = await control_plane.connect(accepted.session)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == grpc.StatusCode.UNAUTHENTICATED


async def test_pattern_that_returned_is_not_lost(
    serve: Serve,
) -> None:
    control_plane = await serve(
        ControlPlaneOptions(
            heartbeat_interval=timedelta(seconds=10), lost_after=timedelta(seconds=1)
        )
    )
    expected = control_plane.expect()
    stream, accepted = await control_plane.register(expected.pending.token)
    session = await expected.session()
    stream.call.cancel()
    await until(lambda: expected.events)
    await control_plane.register(accepted.session)
    losing = asyncio.create_task(session.wait_lost())
    await asyncio.wait((losing,), timeout=1.2)
    assert not losing.done()
    losing.cancel()


async def test_second_stream_of_a_session_replaces_the_first(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    first, accepted = await control_plane.register(expected.pending.token)
    second, _ = await control_plane.register(accepted.session)
    assert await first.refusal() == (
        grpc.StatusCode.UNAVAILABLE,
        "another stream took its place",
    )
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]
    await second.send(debug_event=event(1))
    await until(lambda: expected.debug_events)
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]


async def test_return_with_another_driver_is_refused(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    _, accepted = await control_plane.register(expected.pending.token)
    again = await control_plane.connect(accepted.session)
    await again.send(registration=registration(driver="redis"))
    assert (await again.refusal())[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert expected.kinds == [EventKind.REFUSED]
    assert (await expected.session()).registration.driver == "memstore"


async def test_expected_end_of_a_pattern_is_no_loss(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    (await expected.session()).expect_end()
    await stream.call.done_writing()
    assert await stream.read() is None
    assert expected.events == []


def event(sequence: int, **changes: Any) -> pb.DebugEvent:
    fields: dict[str, Any] = {
        "sequence": sequence,
        "time": Timestamp(seconds=1_767_323_045),
        "level": pb.DEBUG_LEVEL_INFO,
        "kind": pb.DEBUG_KIND_BACKEND,
        "message": "keys: 3",
        "details": {"keys": "3"},
    }
    return pb.DebugEvent(**fields | changes)


async def test_debug_events_are_passed_on(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    await stream.send(debug_event=event(1, dropped=2))
    # Of a kind that a later version has.
    await stream.send(debug_event=event(2, kind=99))
    await stream.send(debug_event=event(3, message="x" * 5000))
    await until(lambda: len(expected.debug_events) == 2)
    assert expected.debug_events[0] == DebugEvent(
        1,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        DebugLevel.INFO,
        DebugKind.BACKEND,
        "keys: 3",
        {"keys": "3"},
        2,
    )
    assert len(expected.debug_events[1].message) == 1000


async def test_repeated_debug_event_is_passed_on_once(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, accepted = await control_plane.register(expected.pending.token)
    for sequence in (1, 2):
        await stream.send(debug_event=event(sequence))
    await until(lambda: len(expected.debug_events) == 2)
    again, _ = await control_plane.register(accepted.session)
    for sequence in (2, 3):
        await again.send(debug_event=event(sequence))
    await until(lambda: len(expected.debug_events) == 3)
    assert [each.sequence for each in expected.debug_events] == [1, 2, 3]


async def test_lost_debug_events_are_counted(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, accepted = await control_plane.register(expected.pending.token)
    await stream.send(debug_event=event(1))
    await until(lambda: expected.debug_events)
    again, _ = await control_plane.register(accepted.session)
    await again.send(debug_event=event(6, dropped=3))
    await again.send(debug_event=event(7))
    await until(lambda: len(expected.debug_events) == 3)
    assert [each.dropped for each in expected.debug_events] == [0, 4 + 3, 0]


async def test_largest_sequence_number_is_harmless(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    most = (1 << 64) - 1
    await stream.send(debug_event=event(most, dropped=most))
    await until(lambda: expected.debug_events)
    assert debug_event_message(expected.debug_events[0]).dropped == most


async def test_flood_of_debug_events_is_limited_and_counted(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    count = 3000
    for sequence in range(1, count + 1):
        await stream.send(debug_event=event(sequence))
    sequence = count
    while not expected.debug_events or expected.debug_events[-1].sequence <= count:
        sequence += 1
        await stream.send(debug_event=event(sequence))
        await asyncio.sleep(0.01)
    last = expected.debug_events[-1].sequence
    assert 1000 <= len(expected.debug_events) < last
    assert len(expected.debug_events) + sum(each.dropped for each in expected.debug_events) == last


async def test_debug_event_with_an_invalid_time_ends_the_stream(
    serve: Serve,
) -> None:
    control_plane = await serve()
    stream, _ = await control_plane.register(control_plane.expect().pending.token)
    await stream.send(debug_event=event(1, time=Timestamp(seconds=1 << 60)))
    assert (await stream.refusal())[0] == grpc.StatusCode.INVALID_ARGUMENT
