"""What a session commands, and what the pattern answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.wire.status import status_of
from prism.domain.patterns.ports import Session
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Health,
    HealthStatus,
    Internal,
    InvalidArgument,
    Outcome,
    State,
)
from prism.v1 import lifecycle_pb2 as lpb
from prism.v1 import pattern_pb2 as pb
from tests.unit.pattern_control.conftest import Expected, Receive, Stream, until

HEALTHY = lpb.HealthCheckResponse(
    state=lpb.LIFECYCLE_STATE_RUNNING,
    status=lpb.HEALTH_STATUS_HEALTHY,
    message="well",
    details={"keys": "3"},
)


async def registered(receive: Receive) -> tuple[Expected, Stream, Session]:
    reception = await receive()
    expected = reception.expect()
    stream, _ = await reception.register(expected.visit.token)
    return expected, stream, await expected.session()


async def answer(stream: Stream, **result: Any) -> pb.Command:
    command = await stream.command()
    await stream.send(result=pb.CommandResult(id=command.id, **result))
    return command


async def test_a_pattern_is_driven_through_its_life(receive: Receive) -> None:
    _, stream, session = await registered(receive)
    lifecycle = session.lifecycle

    initializing = asyncio.create_task(lifecycle.initialize({"url": "redis://x", "password": "p"}))
    command = await answer(stream, initialize=lpb.InitializeResponse())
    assert dict(command.initialize.settings) == {"url": "redis://x", "password": "p"}
    await initializing

    starting = asyncio.create_task(lifecycle.start())
    assert (await answer(stream, start=lpb.StartResponse())).WhichOneof("command") == "start"
    await starting

    checking = asyncio.create_task(lifecycle.health())
    await answer(stream, health_check=HEALTHY)
    assert await checking == Health(HealthStatus.HEALTHY, "well", {"keys": "3"})

    asking = asyncio.create_task(lifecycle.state())
    await answer(stream, health_check=HEALTHY)
    assert await asking is State.RUNNING

    draining = asyncio.create_task(lifecycle.drain(timedelta(seconds=7)))
    command = await answer(stream, drain=lpb.DrainResponse(completed=5, aborted=1))
    assert command.drain.timeout.ToTimedelta() == timedelta(seconds=7)
    assert timedelta(seconds=7) < command.timeout.ToTimedelta() <= timedelta(seconds=12)
    assert await draining == DrainReport(completed=5, aborted=1)

    stopping = asyncio.create_task(lifecycle.stop(timedelta(seconds=3)))
    command = await answer(stream, stop=lpb.StopResponse())
    assert command.stop.timeout.ToTimedelta() == timedelta(seconds=3)
    await stopping


async def test_an_error_of_the_pattern_is_raised_as_it_was(receive: Receive) -> None:
    _, stream, session = await registered(receive)
    initializing = asyncio.create_task(session.lifecycle.initialize({}))
    error = InvalidArgument("the setting 'url' is missing", reason="MISSING")
    await answer(stream, error=status_of(error))
    with pytest.raises(InvalidArgument, match="the setting 'url' is missing") as raised:
        await initializing
    assert raised.value.reason == "MISSING"


async def test_an_answer_of_another_kind_is_a_defect_that_is_told(receive: Receive) -> None:
    _, stream, session = await registered(receive)
    starting = asyncio.create_task(session.lifecycle.start())
    await answer(stream, drain=lpb.DrainResponse())
    with pytest.raises(Internal, match="'sessions' was asked to start, and answered drain"):
        await starting


async def test_commands_never_interleave_and_each_has_a_number_of_its_own(
    receive: Receive,
) -> None:
    _, stream, session = await registered(receive)
    running = [asyncio.create_task(session.lifecycle.state()) for _ in range(3)]
    numbers = []
    for task in running:
        command = await stream.command()
        # Nothing else comes before this is answered: a heartbeat would have to pass it.
        await stream.send(result=pb.CommandResult(id=command.id + 100, health_check=HEALTHY))
        assert not task.done()
        await stream.send(result=pb.CommandResult(id=command.id, health_check=HEALTHY))
        numbers.append(command.id)
        assert await task is State.RUNNING
    assert numbers == [1, 2, 3]


async def test_a_second_answer_and_one_to_nobody_are_ignored(receive: Receive) -> None:
    expected, stream, session = await registered(receive)
    await stream.send(result=pb.CommandResult(id=7, start=lpb.StartResponse()))
    starting = asyncio.create_task(session.lifecycle.start())
    command = await answer(stream, start=lpb.StartResponse())
    await starting
    await stream.send(result=pb.CommandResult(id=command.id, start=lpb.StartResponse()))
    checking = asyncio.create_task(session.lifecycle.health())
    await answer(stream, health_check=HEALTHY)
    await checking
    assert expected.happened == []


async def test_a_command_that_is_not_answered_in_time_says_so_and_lets_the_next_one_go(
    receive: Receive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prism.adapters.grpc.servicers.pattern_control.lifecycle._HEALTH_CHECK",
        timedelta(seconds=0.1),
    )
    _, stream, session = await registered(receive)
    with pytest.raises(BackendTimeout, match=r"did not answer within 0\.1 s, asked to tell its h"):
        await session.lifecycle.health()
    first = await stream.command()
    starting = asyncio.create_task(session.lifecycle.start())
    second = await stream.command()
    # Too late: nobody waits for that any more.
    await stream.send(result=pb.CommandResult(id=first.id, health_check=HEALTHY))
    await stream.send(result=pb.CommandResult(id=second.id, start=lpb.StartResponse()))
    await starting


async def test_a_command_whose_caller_went_away_is_waited_for_all_the_same(
    receive: Receive,
) -> None:
    _, stream, session = await registered(receive)
    draining = asyncio.create_task(session.lifecycle.drain())
    drain = await stream.command()
    draining.cancel()
    stopping = asyncio.create_task(session.lifecycle.stop())
    asking = asyncio.create_task(stream.command())
    await stream.send(heartbeat=pb.Heartbeat())
    await asyncio.wait((asking,), timeout=0.1)
    assert not asking.done()
    await stream.send(result=pb.CommandResult(id=drain.id, drain=lpb.DrainResponse()))
    assert (await asking).WhichOneof("command") == "stop"
    stop = (await asking).id
    await stream.send(result=pb.CommandResult(id=stop, stop=lpb.StopResponse()))
    await stopping


async def test_a_stop_does_not_wait_for_a_driver_that_hangs_in_its_bring_up(
    receive: Receive,
) -> None:
    _, stream, session = await registered(receive)
    initializing = asyncio.create_task(session.lifecycle.initialize({}))
    assert (await stream.command()).WhichOneof("command") == "initialize"
    stopping = asyncio.create_task(session.lifecycle.stop())
    assert (await answer(stream, stop=lpb.StopResponse())).WhichOneof("command") == "stop"
    await stopping
    with pytest.raises(BackendUnavailable, match="'sessions' is told to stop") as raised:
        await initializing
    assert raised.value.outcome is Outcome.UNKNOWN


async def test_health_while_it_drains_is_as_of_the_last_check(receive: Receive) -> None:
    _, stream, session = await registered(receive)
    checking = asyncio.create_task(session.lifecycle.health())
    await answer(stream, health_check=HEALTHY)
    before = await checking
    draining = asyncio.create_task(session.lifecycle.drain())
    drain = await stream.command()
    async with asyncio.timeout(5):
        assert await session.lifecycle.health() == before
    await stream.send(result=pb.CommandResult(id=drain.id, drain=lpb.DrainResponse()))
    await draining


async def test_nobody_waits_for_a_pattern_that_is_no_longer_expected(receive: Receive) -> None:
    expected, stream, session = await registered(receive)
    starting = asyncio.create_task(session.lifecycle.start())
    await stream.command()
    expected.visit.close()
    with pytest.raises(BackendUnavailable, match="no longer expected to answer"):
        await starting
    with pytest.raises(BackendUnavailable) as raised:
        await session.lifecycle.start()
    assert raised.value.outcome is Outcome.NOT_APPLIED


async def test_what_was_not_answered_when_the_stream_broke_is_asked_again_on_the_next(
    receive: Receive,
) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    starting = asyncio.create_task((await expected.session()).lifecycle.start())
    before = await stream.command()
    stream.call.cancel()
    await until(lambda: expected.happened)
    again, _ = await reception.register(accepted.session)
    command = await again.command()
    assert (command.id, command.WhichOneof("command")) == (before.id, "start")
    assert command.timeout.ToTimedelta() < before.timeout.ToTimedelta()
    await again.send(result=pb.CommandResult(id=command.id, start=lpb.StartResponse()))
    await starting


async def test_a_command_waits_for_the_stream_that_the_pattern_lost(receive: Receive) -> None:
    reception = await receive()
    expected = reception.expect()
    stream, accepted = await reception.register(expected.visit.token)
    stream.call.cancel()
    await until(lambda: expected.happened)
    starting = asyncio.create_task((await expected.session()).lifecycle.start())
    again, _ = await reception.register(accepted.session)
    await answer(again, start=lpb.StartResponse())
    await starting


async def test_one_that_somebody_else_drained_is_unhealthy(receive: Receive) -> None:
    _, stream, session = await registered(receive)
    draining = lpb.HealthCheckResponse(
        state=lpb.LIFECYCLE_STATE_DRAINING,
        status=lpb.HEALTH_STATUS_HEALTHY,
        message="well",
        details={"keys": "3"},
    )
    checking = asyncio.create_task(session.lifecycle.health())
    await answer(stream, health_check=draining)
    assert await checking == Health(
        HealthStatus.UNHEALTHY,
        "its driver is draining, by another command than its proxy's: restart it",
        {"keys": "3"},
    )
    # One that we drained ourselves is as well as its backend.
    ours = asyncio.create_task(session.lifecycle.drain())
    await answer(stream, drain=lpb.DrainResponse())
    await ours
    checking = asyncio.create_task(session.lifecycle.health())
    await answer(stream, health_check=draining)
    assert (await checking).status is HealthStatus.HEALTHY
