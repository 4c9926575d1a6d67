"""Replacement of a process by another, which no call notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from prism.domain.patterns.comparison import SCRATCH_PREFIX
from prism.domain.patterns.pattern import Pattern, StartupCancelled
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.ports import Capability, Driver, Entry, PreconditionFailed, Profile
from prism.testing.suite import DriverWrapper
from tests.unit.patterns.fakes import (
    FakePorts,
    SharedStore,
    exits,
    never_registers,
    shared_store,
    wait_closed,
)
from tests.unit.patterns.test_restart_loop import LONG

OTHER = PatternSpec("cache", "other")


@pytest.fixture
async def sharing(fakes: FakePorts) -> AsyncIterator[Pattern]:
    """Serving pattern whose processes share their data."""
    fakes.new_driver = await shared_store()
    pattern = fakes.pattern()
    pattern.begin()
    await pattern.settled()
    yield pattern
    await pattern.stop()


async def test_calls_go_to_the_new_process_and_the_old_one_is_drained_and_ended(
    fakes: FakePorts, sharing: Pattern
) -> None:
    assert sharing.gateway is not None
    await sharing.gateway.set("key", b"kept")
    await sharing.replace(OTHER)
    old, new = fakes.processes
    assert (sharing.state, sharing.spec.driver) == (PatternState.SERVING, "other")
    assert old.end.done()
    assert not new.end.done()
    entry = await sharing.gateway.get("key")
    assert entry is not None
    assert entry.value == b"kept"
    kinds = fakes.kinds()
    assert kinds.index(EventKind.REPLACED) < kinds.index(EventKind.DRAINED)
    assert kinds.index(EventKind.DRAINED) < kinds.index(EventKind.STOPPED)


async def test_gateway_accepts_operations_at_every_moment(
    fakes: FakePorts, sharing: Pattern
) -> None:
    replacing = asyncio.create_task(sharing.replace(OTHER))
    calls = 0
    while not replacing.done():
        gateway = sharing.gateway
        assert gateway is not None
        await gateway.set(f"key-{calls}", b"")
        calls += 1
        await asyncio.sleep(0)
    await replacing
    assert calls > 10


async def test_operations_in_flight_finish_in_the_old_process(
    fakes: FakePorts, sharing: Pattern
) -> None:
    assert sharing.gateway is not None
    admission = sharing.gateway.admission
    with admission.admit():
        replacing = asyncio.create_task(sharing.replace(OTHER))
        await wait_closed(admission)
        assert not fakes.processes[0].end.done()
    await replacing
    assert fakes.message_of(EventKind.DRAINED).startswith("1 operation completed")


async def test_checks_leave_no_key_behind(fakes: FakePorts, sharing: Pattern) -> None:
    await sharing.replace(OTHER)
    assert sharing.gateway is not None
    page = await sharing.gateway.scan(SCRATCH_PREFIX)
    assert list(page.keys) == []


async def test_separate_data_is_rejected(fakes: FakePorts, pattern: Pattern) -> None:
    gateway = pattern.gateway
    with pytest.raises(
        PreconditionFailed, match=r"is unchanged: .*memstore keeps its data.*--discard-data"
    ):
        await pattern.replace(PatternSpec("cache", "memstore"))
    assert pattern.gateway is gateway
    assert fakes.processes[1].end.done()
    assert fakes.kinds()[-1] is EventKind.KEPT


async def test_separate_data_is_accepted_with_discard_data(
    fakes: FakePorts, pattern: Pattern
) -> None:
    await pattern.replace(PatternSpec("cache", "memstore"), discard_data=True)
    assert fakes.kinds().count(EventKind.REPLACED) == 1
    assert fakes.processes[0].end.done()


async def test_missing_capability_is_rejected(fakes: FakePorts, sharing: Pattern) -> None:
    make = fakes.new_driver
    fakes.new_driver = lambda spec: Lesser(make(spec))
    with pytest.raises(PreconditionFailed, match=r"does not offer batch, and 'memstore' does"):
        await sharing.replace(OTHER)
    assert sharing.state is PatternState.SERVING


async def test_process_that_does_not_start_is_rejected_with_the_reason(
    fakes: FakePorts, sharing: Pattern
) -> None:
    fakes.next_launches.append(exits("exited with status 1: no Redis"))
    with pytest.raises(PreconditionFailed, match=r"not replaced, .*: no Redis"):
        await sharing.replace(OTHER)
    assert sharing.spec.driver == "memstore"
    assert not fakes.processes[0].end.done()


async def test_new_process_is_restarted_when_it_fails(fakes: FakePorts, sharing: Pattern) -> None:
    await sharing.replace(OTHER)
    fakes.processes[1].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.SERVING, 2)
    assert fakes.processes[2].spec == OTHER
    assert sharing.state is PatternState.SERVING


async def test_failed_pattern_can_be_replaced(
    fakes: FakePorts,
) -> None:
    pattern = fakes.pattern(PatternSpec("cache", "memstore", {"max_value_bytes": "many"}))
    pattern.begin()
    await pattern.settled()
    assert pattern.status.state is PatternState.FAILED
    await pattern.replace(PatternSpec("cache", "memstore"))
    assert pattern.state is PatternState.SERVING
    assert EventKind.DRAINED not in fakes.kinds()
    fakes.processes[1].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.SERVING)
    await pattern.stop()


async def test_pattern_that_backs_off_can_be_replaced(fakes: FakePorts) -> None:
    fakes.next_launches.append(exits("exited with status 1"))
    pattern = fakes.pattern(backoff=LONG)
    pattern.begin()
    await fakes.wait_for(EventKind.BACKING_OFF)
    await pattern.replace(OTHER)
    assert (pattern.state, pattern.spec) == (PatternState.SERVING, OTHER)
    await pattern.stop()
    assert len(fakes.processes) == 2
    assert all(process.end.done() for process in fakes.processes)


async def test_replacement_ends_a_process_that_is_being_launched(
    fakes: FakePorts,
) -> None:
    fakes.next_launches.append(never_registers)
    pattern = fakes.pattern()
    pattern.begin()
    await fakes.wait_for(EventKind.LAUNCHED)
    await pattern.replace(OTHER)
    assert pattern.state is PatternState.SERVING
    assert [process.end.done() for process in fakes.processes] == [True, False]
    await pattern.stop()


async def test_drained_pattern_can_be_replaced(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.drain()
    await pattern.replace(OTHER)
    assert pattern.state is PatternState.SERVING
    assert [process.end.done() for process in fakes.processes] == [True, False]
    assert fakes.kinds().count(EventKind.DRAINED) == 1


async def test_failed_replacement_of_a_failed_pattern_changes_nothing(
    fakes: FakePorts,
) -> None:
    pattern = fakes.pattern(PatternSpec("cache", "memstore", {"max_value_bytes": "many"}))
    pattern.begin()
    await pattern.settled()
    before = pattern.status.reason
    fakes.next_launches.append(exits("exited with status 1: no Redis"))
    with pytest.raises(PreconditionFailed, match=r"not replaced, and is unchanged: .*: no Redis"):
        await pattern.replace(OTHER)
    assert (pattern.state, pattern.status.reason) == (PatternState.FAILED, before)
    assert fakes.kinds()[-1] is EventKind.KEPT
    await pattern.stop()


async def test_process_that_loses_writes_is_rejected(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.drain()
    make = fakes.new_driver
    fakes.new_driver = lambda spec: Forgetful(make(spec))
    with pytest.raises(PreconditionFailed, match="does not read the value that it wrote"):
        await pattern.replace(OTHER)
    assert pattern.state is PatternState.DRAINING


async def test_failure_of_the_old_process_during_a_replacement_rejects_the_new_one(
    fakes: FakePorts, sharing: Pattern
) -> None:
    fakes.next_launches.append(never_registers)
    replacing = asyncio.create_task(sharing.replace(OTHER))
    await fakes.wait_for(EventKind.LAUNCHED, 2)
    fakes.every_launch = never_registers
    fakes.processes[0].exit("was killed by SIGKILL")
    await fakes.wait_for(EventKind.LAUNCHED, 3)
    fakes.register(fakes.processes[1], fakes.pending[1])
    with pytest.raises(PreconditionFailed, match=r"not replaced, .*'cache' is launching"):
        await replacing
    assert fakes.processes[1].end.done()


async def test_stopped_pattern_cannot_be_replaced(fakes: FakePorts, pattern: Pattern) -> None:
    await pattern.stop()
    with pytest.raises(
        StartupCancelled, match=r"the replacement of the pattern 'cache' was cancelled"
    ):
        await pattern.replace(OTHER)
    assert len(fakes.processes) == 1


class Lesser(SharedStore):
    """Driver without batches."""

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        declared: Profile = inner.profile
        rest = dict(declared.capabilities)
        del rest[Capability.BATCH]
        self._profile = replace(declared, driver="lesser", capabilities=rest)

    @property
    def profile(self) -> Profile:
        return self._profile


class Forgetful(DriverWrapper):
    """Driver that loses every write."""

    async def get(self, key: str) -> Entry | None:
        return None
