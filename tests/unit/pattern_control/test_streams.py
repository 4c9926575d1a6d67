"""Streams that break, fall silent, are replaced; and what comes over them unasked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from prism.adapters.grpc.servicers.pattern_control import ReceptionOptions
from prism.adapters.wire.pattern_messages import debug_event_message
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel, EventKind
from prism.ports import BackendUnavailable
from prism.v1 import lifecycle_pb2 as lpb
from prism.v1 import pattern_pb2 as pb
from tests.unit.pattern_control.conftest import Receive, Stream, registration, until

QUICK = ReceptionOptions(
    heartbeat_interval=timedelta(seconds=0.1), lost_after=timedelta(seconds=0.3)
)


async def beat(stream: Stream) -> None:
    while True:
        await stream.send(heartbeat=pb.Heartbeat())
        await asyncio.sleep(0.05)


async def test_a_pattern_that_sends_heartbeats_stays_and_hears_some(receive: Receive) -> None:
    reception = await receive(QUICK)
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    beating = asyncio.create_task(beat(stream))
    reading = asyncio.create_task(stream.read())
    await until(lambda: stream.heartbeats >= 5)
    assert not reading.done()
    assert expected.happened == []
    beating.cancel()
    reading.cancel()


async def test_a_pattern_that_falls_silent_loses_its_stream(receive: Receive) -> None:
    reception = await receive(QUICK)
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    code, message = await stream.refusal()
    assert code == grpc.StatusCode.UNAVAILABLE
    assert message == "nothing was heard from it for 0.2 s"
    await until(lambda: expected.happened)
    assert expected.happened == [
        (EventKind.LOST, "its control stream broke: nothing was heard from it for 0.2 s")
    ]


@pytest.mark.parametrize("how", ["cancel", "half-close"])
async def test_a_pattern_whose_stream_broke_may_return(receive: Receive, how: str) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    session = await expected.session()
    if how == "cancel":
        stream.call.cancel()
    else:
        await stream.call.done_writing()
        assert await stream.read() is None
    await until(lambda: expected.happened)
    _, second = await reception.register(accepted.session, data_address="127.0.0.1:9")
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]
    assert second.session == accepted.session
    assert session.registration.data_address == "127.0.0.1:9"


async def test_a_pattern_that_stays_away_is_lost(receive: Receive) -> None:
    reception = await receive(QUICK)
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    session = await expected.session()
    starting = asyncio.create_task(session.lifecycle.start())
    await stream.command()
    stream.call.cancel()
    async with asyncio.timeout(20):
        why = await session.wait_lost()
    assert why.startswith(
        "the pattern 'sessions' did not return within 0.3 s after its control stream broke: "
    )
    assert expected.kinds == [EventKind.LOST]
    with pytest.raises(BackendUnavailable, match=r"did not return within 0\.3 s"):
        await starting
    # And then it is too late.
    again = await reception.connect(accepted.session)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == grpc.StatusCode.UNAUTHENTICATED


async def test_one_that_returned_is_not_lost_for_having_been_away(receive: Receive) -> None:
    reception = await receive(
        ReceptionOptions(heartbeat_interval=timedelta(seconds=10), lost_after=timedelta(seconds=1))
    )
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    session = await expected.session()
    stream.call.cancel()
    await until(lambda: expected.happened)
    await reception.register(accepted.session)
    losing = asyncio.create_task(session.wait_lost())
    await asyncio.wait((losing,), timeout=1.2)
    assert not losing.done()
    losing.cancel()


async def test_a_second_stream_of_a_session_takes_the_place_of_the_first(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    first, accepted = await reception.register(expected.visit.token)
    session = await expected.session()
    second, _ = await reception.register(accepted.session)
    assert await first.refusal() == (
        grpc.StatusCode.UNAVAILABLE,
        "another stream took its place",
    )
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]
    starting = asyncio.create_task(session.lifecycle.start())
    command = await second.command()
    await second.send(result=pb.CommandResult(id=command.id, start=lpb.StartResponse()))
    await starting
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]


async def test_a_pattern_that_returns_as_another_is_refused(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    _, accepted = await reception.register(expected.visit.token)
    again = await reception.connect(accepted.session)
    await again.send(registration=registration(driver="redis"))
    assert (await again.refusal())[0] == grpc.StatusCode.FAILED_PRECONDITION
    assert expected.kinds == [EventKind.REFUSED]
    assert (await expected.session()).registration.driver == "memstore"


async def test_a_pattern_that_was_stopped_is_not_missed(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    session = await expected.session()
    stopping = asyncio.create_task(session.lifecycle.stop())
    command = await stream.command()
    await stream.send(result=pb.CommandResult(id=command.id, stop=lpb.StopResponse()))
    await stream.call.done_writing()
    await stopping
    assert await stream.read() is None
    assert expected.happened == []


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


async def test_what_a_pattern_tells_of_itself_is_told(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    await stream.send(debug_event=event(1, dropped=2))
    # Of a kind that a later version has.
    await stream.send(debug_event=event(2, kind=99))
    await stream.send(debug_event=event(3, message="x" * 5000))
    await until(lambda: len(expected.told) == 2)
    assert expected.told[0] == DebugEvent(
        1,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        DebugLevel.INFO,
        DebugKind.BACKEND,
        "keys: 3",
        {"keys": "3"},
        2,
    )
    assert len(expected.told[1].message) == 1000


async def test_what_is_told_again_after_a_stream_broke_is_told_once(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    for sequence in (1, 2):
        await stream.send(debug_event=event(sequence))
    await until(lambda: len(expected.told) == 2)
    again, _ = await reception.register(accepted.session)
    for sequence in (2, 3):
        await again.send(debug_event=event(sequence))
    await until(lambda: len(expected.told) == 3)
    assert [each.sequence for each in expected.told] == [1, 2, 3]


async def test_what_was_lost_while_a_stream_was_broken_is_counted(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    await stream.send(debug_event=event(1))
    await until(lambda: expected.told)
    again, _ = await reception.register(accepted.session)
    await again.send(debug_event=event(6, dropped=3))
    await again.send(debug_event=event(7))
    await until(lambda: len(expected.told) == 3)
    assert [each.dropped for each in expected.told] == [0, 4 + 3, 0]


async def test_a_number_that_was_made_up_harms_nobody(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    most = (1 << 64) - 1
    await stream.send(debug_event=event(most, dropped=most))
    await until(lambda: expected.told)
    assert debug_event_message(expected.told[0]).dropped == most


async def test_a_flood_of_debug_events_is_cut_and_counted(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    count = 3000
    for sequence in range(1, count + 1):
        await stream.send(debug_event=event(sequence))
    sequence = count
    while not expected.told or expected.told[-1].sequence <= count:
        sequence += 1
        await stream.send(debug_event=event(sequence))
        await asyncio.sleep(0.01)
    last = expected.told[-1].sequence
    assert 1000 <= len(expected.told) < last
    assert len(expected.told) + sum(each.dropped for each in expected.told) == last


async def test_a_debug_event_of_no_time_ends_the_stream(receive: Receive) -> None:
    reception = await receive()
    stream, _ = await reception.register(reception.expect().visit.token)
    await stream.send(debug_event=event(1, time=Timestamp(seconds=1 << 60)))
    assert (await stream.refusal())[0] == grpc.StatusCode.INVALID_ARGUMENT
