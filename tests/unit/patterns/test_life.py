"""A pattern's life, from its launch to its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from prism.adapters.memstore import Memstore
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternState, Plan
from prism.ports import Health, HealthStatus, NotServing, PreconditionFailed, State
from prism.testing.suite import DriverWrapper
from tests.unit.patterns.world import TERMS, FakeWorld


async def test_a_pattern_is_launched_initialized_started_and_serves(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    assert supervisor.state is PatternState.SERVING
    assert world.kinds() == [
        EventKind.LAUNCHED,
        EventKind.REGISTERED,
        EventKind.INITIALIZED,
        EventKind.STARTED,
        EventKind.SERVING,
    ]
    gateway = supervisor.gateway
    assert gateway is not None
    await gateway.set("key", b"value")
    entry = await gateway.get("key")
    assert entry is not None
    assert entry.value == b"value"


async def test_its_settings_reach_the_driver_by_command(world: FakeWorld) -> None:
    supervisor = world.supervisor(Plan("cache", "memstore", {"max_value_bytes": "1234"}))
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.gateway is not None
    assert supervisor.gateway.profile.limits.max_value_bytes == 1234
    await supervisor.stop()


async def test_stopping_ends_the_process_without_a_signal(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.stop()
    assert supervisor.state is PatternState.STOPPED
    assert world.processes[0].signals == []
    assert world.kinds()[-2:] == [EventKind.STOPPED, EventKind.EXITED]
    assert "exited with status 0" in world.message_of(EventKind.EXITED)
    assert world.visits[0].closed


async def test_stopping_twice_is_stopping_once(world: FakeWorld, supervisor: Supervisor) -> None:
    await supervisor.stop()
    await supervisor.stop()
    assert world.kinds().count(EventKind.EXITED) == 1


async def test_one_that_ignores_stop_is_terminated_and_then_killed(world: FakeWorld) -> None:
    supervisor = world.supervisor()
    supervisor.begin()
    await supervisor.settled()
    process = world.processes[0]
    process.stubborn = True
    await supervisor.stop()
    assert process.signals == ["SIGTERM", "SIGKILL"]
    assert "was killed by SIGKILL" in world.message_of(EventKind.EXITED)


async def test_a_drained_pattern_refuses_and_is_not_launched_again(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.drain(timedelta(seconds=1))
    assert supervisor.state is PatternState.DRAINING
    assert supervisor.gateway is None
    assert world.processes[0].lifecycle.current is State.DRAINING
    world.processes[0].exit("was killed by SIGKILL")
    with pytest.raises(NotServing, match=r"'cache' is draining: .*restart it"):
        await supervisor.wait_for_gateway()
    assert len(world.processes) == 1


async def test_a_drained_pattern_whose_process_ends_is_told_so_and_can_be_restarted(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.drain()
    world.processes[0].exit("was killed by SIGKILL")
    await world.happens(EventKind.EXITED)
    assert "was killed by SIGKILL" in world.message_of(EventKind.FAILED)
    status = supervisor.status
    assert (status.state, status.process_id) == (PatternState.STOPPED, None)
    assert status.health is None
    assert status.reason.startswith("it was drained, and then: the pattern 'cache' was killed by")
    with pytest.raises(NotServing, match=r"'cache' is stopped: .*restart it"):
        await supervisor.wait_for_gateway()
    assert world.visits[0].closed
    assert len(world.processes) == 1
    await supervisor.restart()
    assert supervisor.state is PatternState.SERVING


async def test_a_drained_pattern_that_is_lost_is_ended(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.drain()
    world.sessions[0].silence.set_result("nothing was heard of it for 5 s")
    await world.happens(EventKind.EXITED)
    assert world.processes[0].end.done()
    assert "nothing was heard of it for 5 s" in supervisor.status.reason
    assert len(world.processes) == 1


async def test_a_drain_waits_for_what_is_in_flight(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    gateway = supervisor.gateway
    assert gateway is not None
    with gateway.admission.admit():
        draining = asyncio.create_task(supervisor.drain(timedelta(seconds=10)))
        while supervisor.state is PatternState.SERVING:
            await asyncio.sleep(0)
        assert world.processes[0].lifecycle.current is State.RUNNING
    assert (await draining).completed == 1
    assert world.message_of(EventKind.DRAINED) == "1 operations completed, 0 aborted"


async def test_only_one_that_serves_can_be_drained(supervisor: Supervisor) -> None:
    await supervisor.stop()
    with pytest.raises(PreconditionFailed, match=r"'cache' is stopped"):
        await supervisor.drain()


async def test_a_restart_makes_another_process(world: FakeWorld, supervisor: Supervisor) -> None:
    await supervisor.restart()
    assert supervisor.state is PatternState.SERVING
    assert supervisor.status.restarts == 1
    assert [process.end.done() for process in world.processes] == [True, False]
    assert "is empty" in world.message_of(EventKind.SERVING)


async def test_a_restart_goes_on_when_its_caller_goes_away(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    restarting = asyncio.create_task(supervisor.restart())
    await asyncio.sleep(0)
    restarting.cancel()
    await world.happens(EventKind.SERVING, 2)
    assert supervisor.state is PatternState.SERVING


async def test_health_is_checked_and_a_change_is_an_event(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    while supervisor.status.health is None:
        await asyncio.sleep(0)
    process = world.processes[0]
    await process.lifecycle.drain(timedelta())
    await process.driver.stop()
    await world.happens(EventKind.HEALTH)
    assert world.message_of(EventKind.HEALTH).startswith("unhealthy: ")


async def test_one_that_begins_unhealthy_is_an_event(world: FakeWorld) -> None:
    world.make_driver = lambda _: Ailing(Memstore())
    supervisor = world.supervisor()
    supervisor.begin()
    await world.happens(EventKind.HEALTH)
    assert world.message_of(EventKind.HEALTH) == "degraded: half of it is away"
    await supervisor.stop()
    assert world.kinds().count(EventKind.HEALTH) == 1


async def test_the_status_tells_process_address_and_restarts(supervisor: Supervisor) -> None:
    status = supervisor.status
    assert (status.name, status.driver, status.state) == ("cache", "memstore", "serving")
    assert status.process_id == 1000
    assert status.registration is not None
    assert status.registration.data_address == "1000"
    assert status.serving_since is not None
    assert (status.restarts, status.in_flight) == (0, 0)


async def test_a_process_cut_short_by_a_stop_is_not_left_behind(world: FakeWorld) -> None:
    """Whenever the stop comes."""
    for steps in range(30):
        supervisor = world.supervisor(terms=TERMS)
        supervisor.begin()
        for _ in range(steps):
            await asyncio.sleep(0)
        await supervisor.stop()
        assert all(process.end.done() for process in world.processes)
        assert all(visit.closed for visit in world.visits)


class Ailing(DriverWrapper):
    """Was never better."""

    async def health(self) -> Health:
        return Health(HealthStatus.DEGRADED, "half of it is away")
