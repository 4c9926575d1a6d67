"""Life of a pattern, from its launch to its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from prism.adapters.memstore import Memstore
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.ports import Health, HealthStatus, NotServing, PreconditionFailed, State
from prism.testing.suite import DriverWrapper
from tests.unit.patterns.fakes import POLICY, FakePorts


async def test_pattern_is_launched_initialized_started_and_serves(
    fakes: FakePorts, pattern: Pattern
) -> None:
    assert pattern.state is PatternState.SERVING
    assert fakes.kinds() == [
        EventKind.LAUNCHED,
        EventKind.REGISTERED,
        EventKind.INITIALIZED,
        EventKind.STARTED,
        EventKind.SERVING,
    ]
    gateway = pattern.gateway
    assert gateway is not None
    await gateway.set("key", b"value")
    entry = await gateway.get("key")
    assert entry is not None
    assert entry.value == b"value"


async def test_settings_reach_the_driver(fakes: FakePorts) -> None:
    pattern = fakes.pattern(PatternSpec("cache", "memstore", {"max_value_bytes": "1234"}))
    pattern.begin()
    await pattern.settled()
    assert pattern.gateway is not None
    assert pattern.gateway.profile.limits.max_value_bytes == 1234
    await pattern.stop()


async def test_stop_ends_the_process_without_a_signal(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.stop()
    assert pattern.state is PatternState.STOPPED
    assert fakes.processes[0].signals == []
    assert fakes.kinds()[-2:] == [EventKind.STOPPED, EventKind.EXITED]
    assert "exited with status 0" in fakes.message_of(EventKind.EXITED)
    assert fakes.pending[0].closed


async def test_second_stop_does_nothing(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.stop()
    await pattern.stop()
    assert fakes.kinds().count(EventKind.EXITED) == 1


async def test_process_that_ignores_stop_is_terminated_and_killed(fakes: FakePorts) -> None:
    pattern = fakes.pattern()
    pattern.begin()
    await pattern.settled()
    process = fakes.processes[0]
    process.stubborn = True
    await pattern.stop()
    assert process.signals == ["SIGTERM", "SIGKILL"]
    assert "was killed by SIGKILL" in fakes.message_of(EventKind.EXITED)


async def test_drained_pattern_refuses_and_is_not_launched_again(
    fakes: FakePorts, pattern: Pattern
) -> None:
    await pattern.drain(timedelta(seconds=1))
    assert pattern.state is PatternState.DRAINING
    assert pattern.gateway is None
    assert fakes.processes[0].lifecycle.current is State.DRAINING
    fakes.processes[0].exit("was killed by SIGKILL")
    with pytest.raises(NotServing, match=r"'cache' is draining: .*restart it"):
        await pattern.wait_for_gateway()
    assert len(fakes.processes) == 1


async def test_drained_pattern_whose_process_ends_is_stopped_and_can_be_restarted(
    fakes: FakePorts, pattern: Pattern
) -> None:
    await pattern.drain()
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.EXITED)
    assert "was killed by SIGKILL" in fakes.message_of(EventKind.FAILED)
    status = pattern.status
    assert (status.state, status.process_id) == (PatternState.STOPPED, None)
    assert status.health is None
    assert status.reason.startswith("it was drained, and then: the pattern 'cache' was killed by")
    with pytest.raises(NotServing, match=r"'cache' is stopped: .*restart it"):
        await pattern.wait_for_gateway()
    assert fakes.pending[0].closed
    assert len(fakes.processes) == 1
    await pattern.restart()
    assert pattern.state is PatternState.SERVING


async def test_drained_pattern_that_is_lost_is_ended(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.drain()
    fakes.sessions[0].loss.set_result("nothing was heard of it for 5 s")
    await fakes.wait_for(EventKind.EXITED)
    assert fakes.processes[0].end.done()
    assert "nothing was heard of it for 5 s" in pattern.status.reason
    assert len(fakes.processes) == 1


async def test_drain_waits_for_operations_in_flight(fakes: FakePorts, pattern: Pattern) -> None:
    gateway = pattern.gateway
    assert gateway is not None
    with gateway.admission.admit():
        draining = asyncio.create_task(pattern.drain(timedelta(seconds=10)))
        while pattern.state is PatternState.SERVING:
            await asyncio.sleep(0)
        assert fakes.processes[0].lifecycle.current is State.RUNNING
    assert (await draining).completed == 1
    assert fakes.message_of(EventKind.DRAINED) == "1 operation completed, 0 aborted"


async def test_only_a_serving_pattern_can_be_drained(pattern: Pattern) -> None:
    await pattern.stop()
    with pytest.raises(PreconditionFailed, match=r"'cache' is stopped"):
        await pattern.drain()


async def test_restart_launches_another_process(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.restart()
    assert pattern.state is PatternState.SERVING
    assert pattern.status.restarts == 1
    assert [process.end.done() for process in fakes.processes] == [True, False]
    assert "is empty" in fakes.message_of(EventKind.SERVING)


async def test_cancelled_caller_does_not_cancel_a_restart(
    fakes: FakePorts, pattern: Pattern
) -> None:
    restarting = asyncio.create_task(pattern.restart())
    await asyncio.sleep(0)
    restarting.cancel()
    await fakes.wait_for(EventKind.SERVING, 2)
    assert pattern.state is PatternState.SERVING


async def test_change_of_health_is_an_event(fakes: FakePorts, pattern: Pattern) -> None:
    while pattern.status.health is None:
        await asyncio.sleep(0)
    process = fakes.processes[0]
    await process.lifecycle.drain(timedelta())
    await process.driver.stop()
    await fakes.wait_for(EventKind.HEALTH)
    assert fakes.message_of(EventKind.HEALTH).startswith("unhealthy: ")


async def test_pattern_drained_by_another_command_is_unhealthy(
    fakes: FakePorts, pattern: Pattern
) -> None:
    await fakes.processes[0].lifecycle.drain(timedelta())
    await fakes.wait_for(EventKind.HEALTH)
    health = pattern.status.health
    assert health is not None
    assert health.status is HealthStatus.UNHEALTHY
    message = "its driver is draining, by a command that did not come from its proxy: restart it"
    assert health.message == message
    assert health.details["keys"] == "0"


async def test_pattern_drained_by_its_proxy_is_as_healthy_as_its_backend(
    fakes: FakePorts, pattern: Pattern
) -> None:
    await pattern.drain()
    checks: list[Health] = []
    fakes.processes[0].lifecycle.observe_health(checks.append)
    while len(checks) < 3:
        await asyncio.sleep(0)
    health = pattern.status.health
    assert health is not None
    assert health.status is HealthStatus.HEALTHY
    assert EventKind.HEALTH not in fakes.kinds()


async def test_first_check_that_is_not_healthy_is_an_event(fakes: FakePorts) -> None:
    fakes.new_driver = lambda _: Ailing(Memstore())
    pattern = fakes.pattern()
    pattern.begin()
    await fakes.wait_for(EventKind.HEALTH)
    assert fakes.message_of(EventKind.HEALTH) == "degraded: half of it is away"
    await pattern.stop()
    assert fakes.kinds().count(EventKind.HEALTH) == 1


async def test_status_has_process_address_and_restarts(pattern: Pattern) -> None:
    status = pattern.status
    assert (status.name, status.driver, status.state) == ("cache", "memstore", "serving")
    assert status.process_id == 1000
    assert status.registration is not None
    assert status.registration.data_address == "1000"
    assert status.serving_since is not None
    assert (status.restarts, status.in_flight) == (0, 0)


async def test_stop_at_any_moment_of_a_launch_leaves_no_process(fakes: FakePorts) -> None:
    """The loop is stopped after each number of steps."""
    for steps in range(30):
        pattern = fakes.pattern(policy=POLICY)
        pattern.begin()
        for _ in range(steps):
            await asyncio.sleep(0)
        await pattern.stop()
        assert all(process.end.done() for process in fakes.processes)
        assert all(each.closed for each in fakes.pending)


class Ailing(DriverWrapper):
    """Memstore that is always degraded."""

    async def health(self) -> Health:
        return Health(HealthStatus.DEGRADED, "half of it is away")
