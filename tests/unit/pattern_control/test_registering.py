"""Registrations that are accepted, and those that are refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from prism.adapters.grpc.servicers.pattern_control import ControlPlaneOptions
from prism.adapters.wire.pattern_messages import debug_event_message
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel, EventKind, PatternSpec
from prism.ports import Capability, PreconditionFailed, State
from prism.v1 import keyvalue_pb2, lifecycle_pb2
from prism.v1 import pattern_pb2 as pb
from tests.unit.pattern_control.conftest import PATIENT, Serve, registration, until

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


async def test_registration_with_the_token_is_accepted(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    capabilities = [
        keyvalue_pb2.Capability(name=keyvalue_pb2.CAPABILITY_NAME_TTL),
        keyvalue_pb2.Capability(name=99),  # type: ignore[arg-type]
    ]
    _, accepted = await control_plane.register(
        expected.pending.token,
        capabilities=capabilities,
        state=lifecycle_pb2.LIFECYCLE_STATE_CREATED,
    )
    assert len(accepted.session) > 20
    assert accepted.session != expected.pending.token
    assert accepted.heartbeat_interval.ToTimedelta() == PATIENT.heartbeat_interval
    got = (await expected.session()).registration
    assert (got.driver, got.driver_version, got.prism_version) == ("memstore", "1.2.3", "0.1.0")
    assert (got.process_id, got.state) == (42, State.CREATED)
    assert (got.data_address, got.metrics_address) == ("unix:/tmp/data.sock", "127.0.0.1:9191")
    assert got.capabilities == {Capability.TTL}
    assert expected.events == []


async def test_token_identifies_the_pattern(
    serve: Serve,
) -> None:
    control_plane = await serve()
    first, second = control_plane.expect(), control_plane.expect(PatternSpec("cache", "redis"))
    await control_plane.register(second.pending.token, driver="redis")
    await control_plane.register(first.pending.token)
    assert (await first.session()).registration.driver == "memstore"
    assert (await second.session()).registration.driver == "redis"


@pytest.mark.parametrize("credential", [None, "guessed"])
async def test_missing_or_unknown_token_is_refused(serve: Serve, credential: str | None) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream = await control_plane.connect(credential)
    await stream.send(registration=registration())
    code, message = await stream.refusal()
    assert code == UNAUTHENTICATED
    assert "unknown to this proxy" in message
    # The expected process can still register.
    await control_plane.register(expected.pending.token)


async def test_used_token_is_refused(serve: Serve) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    # For another process at once; for the same process once it was heard.
    another = await control_plane.connect(expected.pending.token)
    await another.send(registration=registration(process_id=43))
    assert (await another.refusal())[0] == UNAUTHENTICATED
    event = DebugEvent(1, datetime.now(UTC), DebugLevel.INFO, DebugKind.LOG, "hello")
    await stream.send(debug_event=debug_event_message(event))
    await until(lambda: expected.debug_events)
    again = await control_plane.connect(expected.pending.token)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == UNAUTHENTICATED


async def test_token_is_accepted_again_until_the_pattern_was_heard(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    first, accepted = await control_plane.register(expected.pending.token)
    first.call.cancel()
    await until(lambda: expected.events)
    _, again = await control_plane.register(expected.pending.token)
    assert again.session == accepted.session
    assert expected.kinds == [EventKind.LOST, EventKind.RETURNED]


async def test_token_is_refused_after_close(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    expected.pending.close()
    stream = await control_plane.connect(expected.pending.token)
    await stream.send(registration=registration())
    assert (await stream.refusal())[0] == UNAUTHENTICATED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol_version": 3}, "speaks version 3 of the control stream"),
        ({"driver": "redis"}, "its driver is 'redis', and must be 'memstore'"),
    ],
)
async def test_unexpected_driver_or_protocol_version_is_refused(
    serve: Serve, changes: dict[str, Any], message: str
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream = await control_plane.connect(expected.pending.token)
    await stream.send(registration=registration(**changes))
    code, text = await stream.refusal()
    assert code == FAILED_PRECONDITION
    assert message in text
    with pytest.raises(PreconditionFailed, match=f"'sessions' was refused: .*{message[:20]}"):
        await expected.session()
    assert expected.kinds == [EventKind.REFUSED]
    # The token cannot be used again.
    again = await control_plane.connect(expected.pending.token)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == UNAUTHENTICATED


@pytest.mark.parametrize("missing", ["driver", "data_address"])
async def test_incomplete_registration_is_refused(serve: Serve, missing: str) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream = await control_plane.connect(expected.pending.token)
    await stream.send(registration=registration(**{missing: ""}))
    assert (await stream.refusal())[0] in (INVALID_ARGUMENT, FAILED_PRECONDITION)
    with pytest.raises(PreconditionFailed):
        await expected.session()


async def test_first_message_must_be_a_registration(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream = await control_plane.connect(expected.pending.token)
    await stream.send(heartbeat=pb.Heartbeat())
    code, message = await stream.refusal()
    assert code == INVALID_ARGUMENT
    assert message == "the first message of a stream has to be a registration"


async def test_stream_that_ends_without_a_registration_is_refused(
    serve: Serve,
) -> None:
    control_plane = await serve()
    stream = await control_plane.connect(control_plane.expect().pending.token)
    await stream.call.done_writing()
    assert (await stream.refusal())[0] == INVALID_ARGUMENT


async def test_stream_without_a_registration_times_out(
    serve: Serve,
) -> None:
    control_plane = await serve(ControlPlaneOptions(registration_timeout=timedelta(seconds=0.1)))
    stream = await control_plane.connect(control_plane.expect().pending.token)
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
async def test_invalid_message_ends_the_stream(serve: Serve, data: bytes, message: str) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, _ = await control_plane.register(expected.pending.token)
    await stream.write(data)
    code, text = await stream.refusal()
    assert code == INVALID_ARGUMENT
    assert message in text
    assert expected.kinds == [EventKind.LOST]
    assert message in expected.events[0][1]


async def test_close_ends_the_stream_for_good(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    stream, accepted = await control_plane.register(expected.pending.token)
    expected.pending.close()
    expected.pending.close()
    code, message = await stream.refusal()
    assert code == FAILED_PRECONDITION
    assert message == "the proxy does not need this process any more"
    again = await control_plane.connect(accepted.session)
    await again.send(registration=registration())
    assert (await again.refusal())[0] == UNAUTHENTICATED
    assert expected.events == []


async def test_wait_for_a_registration_can_be_cancelled(
    serve: Serve,
) -> None:
    control_plane = await serve()
    expected = control_plane.expect()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await expected.pending.session()
    await control_plane.register(expected.pending.token)
    assert (await expected.session()).registration.driver == "memstore"
