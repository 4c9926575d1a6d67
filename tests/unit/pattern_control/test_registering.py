"""Who is let in, and what the others are told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from prism.adapters.grpc.servicers.pattern_control import ReceptionOptions
from prism.adapters.wire.pattern_messages import debug_event_message
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel, EventKind, PatternSpec
from prism.ports import Capability, PreconditionFailed, State
from prism.v1 import keyvalue_pb2, lifecycle_pb2
from prism.v1 import pattern_pb2 as pb
from tests.unit.pattern_control.conftest import PATIENT, Receive, registration, until

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


async def test_a_pattern_with_its_token_is_accepted_and_said_what_it_said_of_itself(
    receive: Receive,
) -> None:
    reception = await receive()
    expected = reception.expect()
    capabilities = [
        keyvalue_pb2.Capability(name=keyvalue_pb2.CAPABILITY_NAME_TTL),
        keyvalue_pb2.Capability(name=99),  # type: ignore[arg-type]
    ]
    _, accepted = await reception.register(
        expected.visit.token,
        capabilities=capabilities,
        state=lifecycle_pb2.LIFECYCLE_STATE_CREATED,
    )
    assert len(accepted.session) > 20
    assert accepted.session != expected.visit.token
    assert accepted.heartbeat_interval.ToTimedelta() == PATIENT.heartbeat_interval
    told = (await expected.session()).registration
    assert (told.driver, told.driver_version, told.prism_version) == ("memstore", "1.2.3", "0.1.0")
    assert (told.process_id, told.state) == (42, State.CREATED)
    assert (told.data_address, told.metrics_address) == ("unix:/tmp/data.sock", "127.0.0.1:9191")
    assert told.capabilities == {Capability.TTL}
    assert expected.happened == []


async def test_patterns_are_told_apart_by_their_tokens(receive: Receive) -> None:
    reception = await receive()
    first, second = reception.expect(), reception.expect(PatternSpec("cache", "redis"))
    await reception.register(second.visit.token, driver="redis")
    await reception.register(first.visit.token)
    assert (await first.session()).registration.driver == "memstore"
    assert (await second.session()).registration.driver == "redis"


@pytest.mark.parametrize("shown", [None, "guessed"])
async def test_whoever_shows_no_token_or_another_is_refused(
    receive: Receive, shown: str | None
) -> None:
    reception = await receive()
    expected = reception.expect()
    stream = await reception.connect(shown)
    await stream.send(registration=registration())
    code, message = await stream.refusal()
    assert code == UNAUTHENTICATED
    assert "unknown to this proxy" in message
    # And it does not keep the one that is expected from coming.
    await reception.register(expected.visit.token)


async def test_a_token_that_was_used_is_refused(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    # By another process at once, by the same once that was heard.
    another = await reception.connect(expected.visit.token)
    await another.send(registration=registration(process_id=43))
    assert (await another.refusal())[0] == UNAUTHENTICATED
    event = DebugEvent(1, datetime.now(UTC), DebugLevel.INFO, DebugKind.LOG, "hello")
    await stream.send(debug_event=debug_event_message(event))
    await until(lambda: expected.told)
    again = await reception.connect(expected.visit.token)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == UNAUTHENTICATED


async def test_one_that_may_not_know_that_it_was_let_in_may_show_its_token_again(
    receive: Receive,
) -> None:
    reception = await receive()
    expected = reception.expect()
    first, accepted = await reception.register(expected.visit.token)
    first.call.cancel()
    await until(lambda: expected.happened)
    _, again = await reception.register(expected.visit.token)
    assert again.session == accepted.session
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]


async def test_a_token_is_worth_nothing_once_its_visit_is_closed(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    expected.visit.close()
    stream = await reception.connect(expected.visit.token)
    await stream.send(registration=registration())
    assert (await stream.refusal())[0] == UNAUTHENTICATED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol_version": 2}, "speaks version 2 of the control stream"),
        ({"driver": "redis"}, "its driver is 'redis'; expected is 'memstore'"),
    ],
)
async def test_a_pattern_that_is_not_what_is_expected_is_refused_and_so_is_its_launch(
    receive: Receive, changes: dict[str, Any], message: str
) -> None:
    reception = await receive()
    expected = reception.expect()
    stream = await reception.connect(expected.visit.token)
    await stream.send(registration=registration(**changes))
    code, told = await stream.refusal()
    assert code == FAILED_PRECONDITION
    assert message in told
    with pytest.raises(PreconditionFailed, match=f"'sessions' was refused: .*{message[:20]}"):
        await expected.session()
    assert expected.kinds == [EventKind.REFUSED]
    # Its token is used up.
    again = await reception.connect(expected.visit.token)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == UNAUTHENTICATED


@pytest.mark.parametrize("missing", ["driver", "data_address"])
async def test_a_registration_that_leaves_out_what_matters_is_refused(
    receive: Receive, missing: str
) -> None:
    reception = await receive()
    expected = reception.expect()
    stream = await reception.connect(expected.visit.token)
    await stream.send(registration=registration(**{missing: ""}))
    assert (await stream.refusal())[0] in (INVALID_ARGUMENT, FAILED_PRECONDITION)
    with pytest.raises(PreconditionFailed):
        await expected.session()


async def test_the_first_message_has_to_be_a_registration(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream = await reception.connect(expected.visit.token)
    await stream.send(heartbeat=pb.Heartbeat())
    code, message = await stream.refusal()
    assert code == INVALID_ARGUMENT
    assert message == "the first message of a stream has to be a registration"


async def test_a_stream_that_ends_before_it_began_is_refused(receive: Receive) -> None:
    reception = await receive()
    stream = await reception.connect(reception.expect().visit.token)
    await stream.call.done_writing()
    assert (await stream.refusal())[0] == INVALID_ARGUMENT


async def test_a_stream_on_which_nobody_registers_is_ended(receive: Receive) -> None:
    reception = await receive(ReceptionOptions(registration_timeout=timedelta(seconds=0.1)))
    stream = await reception.connect(reception.expect().visit.token)
    code, message = await stream.refusal()
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert message == "no registration came within 0.1 s"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xff\xff", "not a valid prism.v1.ConnectRequest"),
        (b"", "holds nothing that this version of the protocol knows"),
        (
            pb.ConnectRequest(registration=registration()).SerializeToString(),
            "one registration, and this is the second",
        ),
    ],
    ids=["malformed", "empty", "second registration"],
)
async def test_a_message_that_is_none_ends_the_stream(
    receive: Receive, data: bytes, message: str
) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    await stream.write(data)
    code, told = await stream.refusal()
    assert code == INVALID_ARGUMENT
    assert message in told
    assert expected.kinds == [EventKind.LOST]
    assert message in expected.happened[0][1]


async def test_the_stream_of_a_pattern_that_is_no_longer_expected_ends_for_good(
    receive: Receive,
) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    expected.visit.close()
    expected.visit.close()
    code, message = await stream.refusal()
    assert code == FAILED_PRECONDITION
    assert message == "the proxy has no more use for this process"
    again = await reception.connect(accepted.session)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == UNAUTHENTICATED
    assert expected.happened == []


async def test_waiting_for_a_pattern_can_be_given_up(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await expected.visit.session()
    await reception.register(expected.visit.token)
    assert (await expected.session()).registration.driver == "memstore"
