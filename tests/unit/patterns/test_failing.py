"""What becomes of a pattern that fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.ports import NotServing, PreconditionFailed
from tests.unit.patterns.fakes import POLICY, FakePorts, exits, is_refused, never_registers

LONG = BackoffPolicy(initial=timedelta(hours=1), maximum=timedelta(hours=1))


async def test_a_process_that_dies_is_launched_again_and_says_that_it_is_empty(
    fakes: FakePorts, pattern: Pattern
) -> None:
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.SERVING, 2)
    assert pattern.status.restarts == 1
    assert "was killed by SIGKILL" in fakes.message_of(EventKind.FAILED)
    assert "is empty: it keeps its data in its own process" in fakes.message_of(EventKind.SERVING)


async def test_while_it_is_down_calls_are_refused_at_once_and_told_why(fakes: FakePorts) -> None:
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await pattern.settled()
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.BACKING_OFF)
    with pytest.raises(NotServing, match=r"'cache' is backing off: .* was killed by SIGKILL"):
        await pattern.wait_for_gateway()
    await pattern.stop()


async def test_while_it_is_down_calls_wait_where_they_are_to(fakes: FakePorts) -> None:
    pattern = fakes.pattern(wait_while_down=True)
    fakes.next_launches.append(exits("exited with status 1"))
    waiting = asyncio.create_task(pattern.wait_for_gateway())
    pattern.begin()
    async with asyncio.timeout(10):
        assert await waiting is pattern.gateway
    assert len(fakes.processes) == 2
    await pattern.stop()


async def test_one_that_ends_before_it_registers_is_told_with_its_last_words(
    fakes: FakePorts,
) -> None:
    fakes.next_launches.append(exits("exited with status 1: no module named driver"))
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await pattern.settled()
    assert pattern.state is PatternState.BACKING_OFF
    assert pattern.status.reason == (
        "the pattern 'cache' exited with status 1: no module named driver"
    )
    await pattern.stop()


async def test_one_that_never_registers_is_killed_after_its_time(fakes: FakePorts) -> None:
    fakes.every_launch = never_registers
    terms = replace(POLICY, start_timeout=timedelta(milliseconds=20))
    pattern = fakes.pattern(policy=terms, backoff=LONG)
    pattern.begin()
    await pattern.settled()
    assert pattern.status.reason == "the pattern 'cache' did not register within 0.02 s"
    assert fakes.processes[0].signals == ["SIGTERM"]
    await pattern.stop()


async def test_one_that_is_refused_is_told_as_the_reason(fakes: FakePorts) -> None:
    fakes.every_launch = is_refused(PreconditionFailed("it speaks version 9, and we speak 1"))
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await pattern.settled()
    assert pattern.status.reason == "it speaks version 9, and we speak 1"
    assert fakes.processes[0].end.done()
    await pattern.stop()


async def test_one_that_crashes_again_and_again_is_in_a_crash_loop_and_still_tried(
    fakes: FakePorts,
) -> None:
    fakes.next_launches.extend([exits("exited with status 1")] * 5)
    pattern = fakes.pattern()
    pattern.begin()
    await fakes.wait_for(EventKind.CRASH_LOOP, 3)
    await fakes.wait_for(EventKind.SERVING)
    assert fakes.kinds().count(EventKind.BACKING_OFF) == 2
    assert pattern.state is PatternState.SERVING
    await pattern.stop()


async def test_while_it_is_launched_again_callers_are_told_why_it_failed_before(
    fakes: FakePorts,
) -> None:
    fakes.next_launches.append(exits("exited with status 1"))
    fakes.every_launch = never_registers
    pattern = fakes.pattern()
    pattern.begin()
    await fakes.wait_for(EventKind.LAUNCHED, 2)
    why = "it failed before: the pattern 'cache' exited with status 1"
    assert pattern.status.reason == why
    assert pattern.refusal().message == f"the pattern 'cache' is launching: {why}"
    await pattern.stop()


async def test_one_whose_settings_are_wrong_has_failed_and_is_not_tried_again(
    fakes: FakePorts,
) -> None:
    pattern = fakes.pattern(PatternSpec("cache", "memstore", {"max_value_bytes": "many"}))
    pattern.begin()
    await pattern.settled()
    assert pattern.state is PatternState.FAILED
    assert "max_value_bytes" in pattern.status.reason
    assert len(fakes.processes) == 1
    assert fakes.processes[0].end.done()
    await pattern.stop()


async def test_one_that_is_lost_is_ended_and_launched_again(
    fakes: FakePorts, pattern: Pattern
) -> None:
    fakes.sessions[0].loss.set_result("nothing was heard of it for 5 s")
    await fakes.wait_for(EventKind.SERVING, 2)
    assert fakes.processes[0].end.done()
    assert fakes.message_of(EventKind.FAILED) == "nothing was heard of it for 5 s"


async def test_a_restart_that_comes_to_nothing_says_why(fakes: FakePorts, pattern: Pattern) -> None:
    fakes.next_launches.append(exits("exited with status 3"))
    with pytest.raises(PreconditionFailed, match=r"restarted and is .*: .* exited with status 3"):
        await pattern.restart()
    await fakes.wait_for(EventKind.SERVING, 2)


async def test_a_defect_of_an_adapter_is_a_failure_of_the_pattern_alone(fakes: FakePorts) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    fakes.next_launches.append(breaks)
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await pattern.settled()
    assert pattern.state is PatternState.BACKING_OFF
    assert pattern.status.reason == "an unexpected error of the proxy; its log has the details"
    await pattern.stop()


BACKOFF = BackoffPolicy(
    initial=timedelta(seconds=1),
    maximum=timedelta(seconds=10),
    crash_loop_after=3,
    reset_after=timedelta(seconds=60),
)
BRIEF = timedelta(seconds=1)


def test_delays_double_up_to_the_cap() -> None:
    backoff = Backoff(BACKOFF, rand=lambda: 1.0)
    delays = [backoff.next_delay(BRIEF).total_seconds() for _ in range(6)]
    assert delays == [1, 2, 4, 8, 10, 10]


def test_jitter_takes_up_to_half_of_a_delay() -> None:
    backoff = Backoff(BACKOFF, rand=lambda: 0.0)
    assert backoff.next_delay(BRIEF) == timedelta(seconds=0.5)


def test_a_thousand_failures_overflow_nothing() -> None:
    backoff = Backoff(BACKOFF, rand=lambda: 1.0)
    for _ in range(1000):
        assert backoff.next_delay(BRIEF) <= BACKOFF.maximum


def test_a_crash_loop_begins_at_its_threshold_and_a_good_while_ends_it() -> None:
    backoff = Backoff(BACKOFF, rand=lambda: 1.0)
    loops = []
    for served in (BRIEF, BRIEF, BRIEF, timedelta(seconds=60)):
        backoff.next_delay(served)
        loops.append(backoff.crash_looping)
    assert loops == [False, False, True, False]
