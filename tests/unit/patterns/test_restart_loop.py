"""Patterns that fail, and the restart loop."""

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


async def test_dead_process_is_launched_again_and_reported_as_empty(
    fakes: FakePorts, pattern: Pattern
) -> None:
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.SERVING, 2)
    assert pattern.status.restarts == 1
    assert "was killed by SIGKILL" in fakes.message_of(EventKind.FAILED)
    assert "is empty: it keeps its data in its own process" in fakes.message_of(EventKind.SERVING)


async def test_calls_are_refused_with_the_reason_while_down(fakes: FakePorts) -> None:
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await pattern.settled()
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.BACKING_OFF)
    with pytest.raises(NotServing, match=r"'cache' is backing off: .* was killed by SIGKILL"):
        await pattern.wait_for_gateway()
    await pattern.stop()


async def test_calls_wait_while_down_if_configured(fakes: FakePorts) -> None:
    pattern = fakes.pattern(wait_while_down=True)
    fakes.next_launches.append(exits("exited with status 1"))
    waiting = asyncio.create_task(pattern.wait_for_gateway())
    pattern.begin()
    async with asyncio.timeout(30):
        assert await waiting is pattern.gateway
    assert len(fakes.processes) == 2
    await pattern.stop()


async def test_exit_before_the_registration_is_the_reason(
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


async def test_process_that_never_registers_is_killed(fakes: FakePorts) -> None:
    fakes.every_launch = never_registers
    terms = replace(POLICY, start_timeout=timedelta(milliseconds=20))
    pattern = fakes.pattern(policy=terms, backoff=LONG)
    pattern.begin()
    await pattern.settled()
    assert pattern.status.reason == "the pattern 'cache' did not register within 0.02 s"
    assert fakes.processes[0].signals == ["SIGTERM"]
    await pattern.stop()


async def test_refusal_of_the_registration_is_the_reason(fakes: FakePorts) -> None:
    fakes.every_launch = is_refused(PreconditionFailed("it speaks version 9, and we speak 1"))
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await pattern.settled()
    assert pattern.status.reason == "it speaks version 9, and we speak 1"
    assert fakes.processes[0].end.done()
    await pattern.stop()


async def test_crash_loop_goes_on_trying(
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


async def test_earlier_failure_is_the_reason_during_a_relaunch(
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


async def test_wrong_settings_are_a_permanent_failure(
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


async def test_lost_process_is_ended_and_launched_again(fakes: FakePorts, pattern: Pattern) -> None:
    fakes.sessions[0].loss.set_result("nothing was heard of it for 5 s")
    await fakes.wait_for(EventKind.SERVING, 2)
    assert fakes.processes[0].end.done()
    assert fakes.message_of(EventKind.FAILED) == "nothing was heard of it for 5 s"


async def test_failed_restart_raises_the_reason(fakes: FakePorts, pattern: Pattern) -> None:
    fakes.next_launches.append(exits("exited with status 3"))
    with pytest.raises(PreconditionFailed, match=r"restarted and is .*: .* exited with status 3"):
        await pattern.restart()
    await fakes.wait_for(EventKind.SERVING, 2)


async def test_unexpected_error_of_an_adapter_fails_only_the_pattern(fakes: FakePorts) -> None:
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


def test_delay_after_a_thousand_failures_is_capped() -> None:
    backoff = Backoff(BACKOFF, rand=lambda: 1.0)
    for _ in range(1000):
        assert backoff.next_delay(BRIEF) <= BACKOFF.maximum


def test_crash_loop_begins_at_the_threshold_and_ends_after_good_service() -> None:
    backoff = Backoff(BACKOFF, rand=lambda: 1.0)
    loops = []
    for served in (BRIEF, BRIEF, BRIEF, timedelta(seconds=60)):
        backoff.next_delay(served)
        loops.append(backoff.crash_looping)
    assert loops == [False, False, True, False]
