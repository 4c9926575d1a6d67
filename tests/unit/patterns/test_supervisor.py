"""The supervisor of all patterns of a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from prism.domain.patterns.supervisor import NoSettings, Supervisor
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.ports import HealthStatus, InvalidArgument, PreconditionFailed
from tests.unit.patterns.fakes import POLICY, FakePorts, exits
from tests.unit.patterns.test_restart_loop import LONG

SPECS = (PatternSpec("cache", "memstore"), PatternSpec("sessions", "memstore"))


@pytest.fixture
async def patterns(fakes: FakePorts) -> AsyncIterator[Supervisor]:
    patterns = Supervisor(SPECS, fakes.ports, POLICY, LONG)
    await patterns.initialize(NoSettings())
    yield patterns
    await patterns.stop()


async def test_start_launches_all_patterns(patterns: Supervisor) -> None:
    await patterns.start()
    assert [each.state for each in patterns] == [PatternState.SERVING] * 2
    health = await patterns.health()
    assert health.status is HealthStatus.HEALTHY
    assert health.details == {"pattern.cache": "serving", "pattern.sessions": "serving"}


async def test_failed_pattern_degrades_the_health_and_is_named(
    fakes: FakePorts, patterns: Supervisor
) -> None:
    fakes.next_launches.append(exits("exited with status 1"))
    await patterns.start()
    health = await patterns.health()
    assert health.status is HealthStatus.DEGRADED
    assert health.message == (
        "1 of 2 patterns serve: cache is backing off: the pattern 'cache' exited with status 1"
    )


async def test_unhealthy_when_no_pattern_serves(fakes: FakePorts, patterns: Supervisor) -> None:
    fakes.every_launch = exits("exited with status 1")
    await patterns.start()
    assert (await patterns.health()).status is HealthStatus.UNHEALTHY


async def test_default_is_the_first_pattern_unless_configured(fakes: FakePorts) -> None:
    assert Supervisor(SPECS, fakes.ports, POLICY).find("").spec.name == "cache"
    named = Supervisor(SPECS, fakes.ports, POLICY, default="sessions")
    assert named.find("").spec.name == "sessions"


async def test_unknown_pattern_is_refused_with_the_known_names(
    patterns: Supervisor,
) -> None:
    with pytest.raises(
        PreconditionFailed, match=r"no pattern 'sesions'.*cache, sessions"
    ) as refused:
        patterns.find("sesions")
    assert refused.value.reason == "UNKNOWN_PATTERN"


async def test_repeated_name_is_refused(fakes: FakePorts) -> None:
    with pytest.raises(InvalidArgument, match=r"each needs its own name"):
        Supervisor((*SPECS, SPECS[0]), fakes.ports, POLICY)


async def test_drain_drains_all_serving_patterns(fakes: FakePorts, patterns: Supervisor) -> None:
    await patterns.start()
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.BACKING_OFF)
    report = await patterns.drain(timedelta(seconds=1))
    assert (report.completed, report.aborted) == (0, 0)
    assert patterns.find("sessions").state is PatternState.DRAINING


async def test_stop_leaves_no_process(fakes: FakePorts, patterns: Supervisor) -> None:
    await patterns.start()
    await patterns.stop()
    assert all(process.end.done() for process in fakes.processes)
