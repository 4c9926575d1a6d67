"""What becomes of a pattern that fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternState, Plan
from prism.ports import NotServing, PreconditionFailed
from tests.unit.patterns.world import TERMS, FakeWorld, ends, is_refused, never_calls

LONG = BackoffPolicy(first=timedelta(hours=1), most=timedelta(hours=1))


async def test_a_process_that_dies_is_launched_again_and_says_that_it_is_empty(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    world.processes[0].exit("was killed by SIGKILL")
    await world.happens(EventKind.SERVING, 2)
    assert supervisor.status.restarts == 1
    assert "was killed by SIGKILL" in world.message_of(EventKind.FAILED)
    assert "is empty: it keeps its data in its own process" in world.message_of(EventKind.SERVING)


async def test_while_it_is_down_calls_are_refused_at_once_and_told_why(world: FakeWorld) -> None:
    supervisor = world.supervisor(policy=LONG)
    supervisor.begin()
    await supervisor.settled()
    world.processes[0].exit("was killed by SIGKILL")
    await world.happens(EventKind.BACKING_OFF)
    with pytest.raises(NotServing, match=r"'cache' is backing off: .* was killed by SIGKILL"):
        await supervisor.wait_for_gateway()
    await supervisor.stop()


async def test_while_it_is_down_calls_wait_where_they_are_to(world: FakeWorld) -> None:
    supervisor = world.supervisor(waits=True)
    world.mishaps.append(ends("exited with status 1"))
    waiting = asyncio.create_task(supervisor.wait_for_gateway())
    supervisor.begin()
    async with asyncio.timeout(10):
        assert await waiting is supervisor.gateway
    assert len(world.processes) == 2
    await supervisor.stop()


async def test_one_that_ends_before_it_registers_is_told_with_its_last_words(
    world: FakeWorld,
) -> None:
    world.mishaps.append(ends("exited with status 1: no module named driver"))
    supervisor = world.supervisor(policy=LONG)
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.state is PatternState.BACKING_OFF
    assert supervisor.status.reason == (
        "the pattern 'cache' exited with status 1: no module named driver"
    )
    await supervisor.stop()


async def test_one_that_never_registers_is_killed_after_its_time(world: FakeWorld) -> None:
    world.every_launch = never_calls
    terms = replace(TERMS, start_timeout=timedelta(milliseconds=20))
    supervisor = world.supervisor(terms=terms, policy=LONG)
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.status.reason == "the pattern 'cache' did not register within 0.02 s"
    assert world.processes[0].signals == ["SIGTERM"]
    await supervisor.stop()


async def test_one_that_is_refused_is_told_as_the_reason(world: FakeWorld) -> None:
    world.every_launch = is_refused(PreconditionFailed("it speaks version 9, and we speak 1"))
    supervisor = world.supervisor(policy=LONG)
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.status.reason == "it speaks version 9, and we speak 1"
    assert world.processes[0].end.done()
    await supervisor.stop()


async def test_one_that_crashes_again_and_again_is_in_a_crash_loop_and_still_tried(
    world: FakeWorld,
) -> None:
    world.mishaps.extend([ends("exited with status 1")] * 5)
    supervisor = world.supervisor()
    supervisor.begin()
    await world.happens(EventKind.CRASH_LOOP, 3)
    await world.happens(EventKind.SERVING)
    assert world.kinds().count(EventKind.BACKING_OFF) == 2
    assert supervisor.state is PatternState.SERVING
    await supervisor.stop()


async def test_while_it_is_launched_again_callers_are_told_why_it_failed_before(
    world: FakeWorld,
) -> None:
    world.mishaps.append(ends("exited with status 1"))
    world.every_launch = never_calls
    supervisor = world.supervisor()
    supervisor.begin()
    await world.happens(EventKind.LAUNCHED, 2)
    why = "it failed before: the pattern 'cache' exited with status 1"
    assert supervisor.status.reason == why
    assert supervisor.refusal().message == f"the pattern 'cache' is launching: {why}"
    await supervisor.stop()


async def test_one_whose_settings_are_wrong_has_failed_and_is_not_tried_again(
    world: FakeWorld,
) -> None:
    supervisor = world.supervisor(Plan("cache", "memstore", {"max_value_bytes": "many"}))
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.state is PatternState.FAILED
    assert "max_value_bytes" in supervisor.status.reason
    assert len(world.processes) == 1
    assert world.processes[0].end.done()
    await supervisor.stop()


async def test_one_that_is_lost_is_ended_and_launched_again(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    world.sessions[0].silence.set_result("nothing was heard of it for 5 s")
    await world.happens(EventKind.SERVING, 2)
    assert world.processes[0].end.done()
    assert world.message_of(EventKind.FAILED) == "nothing was heard of it for 5 s"


async def test_a_restart_that_comes_to_nothing_says_why(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    world.mishaps.append(ends("exited with status 3"))
    with pytest.raises(PreconditionFailed, match=r"restarted and is .*: .* exited with status 3"):
        await supervisor.restart()
    await world.happens(EventKind.SERVING, 2)


async def test_a_defect_of_an_adapter_is_a_failure_of_the_pattern_alone(world: FakeWorld) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    world.mishaps.append(breaks)
    supervisor = world.supervisor(policy=LONG)
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.state is PatternState.BACKING_OFF
    assert supervisor.status.reason == "an unexpected error of the proxy; its log has the details"
    await supervisor.stop()


POLICY = BackoffPolicy(
    first=timedelta(seconds=1),
    most=timedelta(seconds=10),
    loop_after=3,
    forgiven_after=timedelta(seconds=60),
)
BRIEF = timedelta(seconds=1)


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(POLICY, chance=lambda: 1.0)
    delays = [backoff.failed(BRIEF).total_seconds() for _ in range(6)]
    assert delays == [1, 2, 4, 8, 10, 10]


def test_jitter_takes_up_to_half_of_a_delay() -> None:
    backoff = Backoff(POLICY, chance=lambda: 0.0)
    assert backoff.failed(BRIEF) == timedelta(seconds=0.5)


def test_a_thousand_failures_overflow_nothing() -> None:
    backoff = Backoff(POLICY, chance=lambda: 1.0)
    for _ in range(1000):
        assert backoff.failed(BRIEF) <= POLICY.most


def test_a_crash_loop_begins_at_its_threshold_and_a_good_while_ends_it() -> None:
    backoff = Backoff(POLICY, chance=lambda: 1.0)
    loops = []
    for served in (BRIEF, BRIEF, BRIEF, timedelta(seconds=60)):
        backoff.failed(served)
        loops.append(backoff.looping)
    assert loops == [False, False, True, False]
