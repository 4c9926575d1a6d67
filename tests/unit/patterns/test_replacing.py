"""One process takes the place of another, and no call notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from prism.domain.patterns.bring_ups import CutShort
from prism.domain.patterns.comparison import SCRATCH_PREFIX
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternState, Plan
from prism.ports import Capability, Driver, Entry, PreconditionFailed, Profile
from prism.testing.suite import DriverWrapper
from tests.unit.patterns.test_failing import LONG
from tests.unit.patterns.world import (
    FakeWorld,
    Outliving,
    ends,
    is_closed,
    never_calls,
    shared_store,
)

OTHER = Plan("cache", "other")


@pytest.fixture
async def sharing(world: FakeWorld) -> AsyncIterator[Supervisor]:
    """One whose processes all have the same data."""
    world.make_driver = await shared_store()
    supervisor = world.supervisor()
    supervisor.begin()
    await supervisor.settled()
    yield supervisor
    await supervisor.stop()


async def test_calls_go_to_the_new_one_and_the_old_one_is_drained_and_ended(
    world: FakeWorld, sharing: Supervisor
) -> None:
    assert sharing.gateway is not None
    await sharing.gateway.set("key", b"kept")
    await sharing.replace(OTHER)
    old, new = world.processes
    assert (sharing.state, sharing.plan.driver) == (PatternState.SERVING, "other")
    assert old.end.done()
    assert not new.end.done()
    entry = await sharing.gateway.get("key")
    assert entry is not None
    assert entry.value == b"kept"
    kinds = world.kinds()
    assert kinds.index(EventKind.REPLACED) < kinds.index(EventKind.DRAINED)
    assert kinds.index(EventKind.DRAINED) < kinds.index(EventKind.STOPPED)


async def test_at_every_moment_there_is_a_gateway_that_lets_in(
    world: FakeWorld, sharing: Supervisor
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


async def test_what_is_in_flight_at_the_old_one_is_finished_there(
    world: FakeWorld, sharing: Supervisor
) -> None:
    assert sharing.gateway is not None
    admission = sharing.gateway.admission
    with admission.admit():
        replacing = asyncio.create_task(sharing.replace(OTHER))
        await is_closed(admission)
        assert not world.processes[0].end.done()
    await replacing
    assert world.message_of(EventKind.DRAINED).startswith("1 operations completed")


async def test_the_checks_leave_no_key_behind(world: FakeWorld, sharing: Supervisor) -> None:
    await sharing.replace(OTHER)
    assert sharing.gateway is not None
    page = await sharing.gateway.scan(SCRATCH_PREFIX)
    assert list(page.keys) == []


async def test_one_that_holds_other_data_is_refused(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    gateway = supervisor.gateway
    with pytest.raises(
        PreconditionFailed, match=r"as before: .*memstore keeps its data.*--discard-data"
    ):
        await supervisor.replace(Plan("cache", "memstore"))
    assert supervisor.gateway is gateway
    assert world.processes[1].end.done()
    assert world.kinds()[-1] is EventKind.KEPT


async def test_one_that_holds_other_data_is_taken_when_that_is_wanted(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.replace(Plan("cache", "memstore"), discard_data=True)
    assert world.kinds().count(EventKind.REPLACED) == 1
    assert world.processes[0].end.done()


async def test_one_that_cannot_do_as_much_is_refused(world: FakeWorld, sharing: Supervisor) -> None:
    make = world.make_driver
    world.make_driver = lambda plan: Lesser(make(plan))
    with pytest.raises(PreconditionFailed, match=r"does not offer batch, and 'memstore' does"):
        await sharing.replace(OTHER)
    assert sharing.state is PatternState.SERVING


async def test_one_that_does_not_start_is_refused_with_the_reason(
    world: FakeWorld, sharing: Supervisor
) -> None:
    world.mishaps.append(ends("exited with status 1: no Redis"))
    with pytest.raises(PreconditionFailed, match=r"not replaced, .*: no Redis"):
        await sharing.replace(OTHER)
    assert sharing.plan.driver == "memstore"
    assert not world.processes[0].end.done()


async def test_the_new_one_is_watched_as_the_old_one_was(
    world: FakeWorld, sharing: Supervisor
) -> None:
    await sharing.replace(OTHER)
    world.processes[1].exit("was killed by SIGKILL")
    await world.happens(EventKind.SERVING, 2)
    assert world.processes[2].plan == OTHER
    assert sharing.state is PatternState.SERVING


async def test_one_that_failed_is_replaced_with_nothing_to_compare_it_with(
    world: FakeWorld,
) -> None:
    supervisor = world.supervisor(Plan("cache", "memstore", {"max_value_bytes": "many"}))
    supervisor.begin()
    await supervisor.settled()
    assert supervisor.status.state is PatternState.FAILED
    await supervisor.replace(Plan("cache", "memstore"))
    assert supervisor.state is PatternState.SERVING
    assert EventKind.DRAINED not in world.kinds()
    world.processes[1].exit("was killed by SIGKILL")
    await world.happens(EventKind.SERVING)
    await supervisor.stop()


async def test_one_that_backs_off_is_replaced_and_not_tried_again(world: FakeWorld) -> None:
    world.mishaps.append(ends("exited with status 1"))
    supervisor = world.supervisor(policy=LONG)
    supervisor.begin()
    await world.happens(EventKind.BACKING_OFF)
    await supervisor.replace(OTHER)
    assert (supervisor.state, supervisor.plan) == (PatternState.SERVING, OTHER)
    await supervisor.stop()
    assert len(world.processes) == 2
    assert all(process.end.done() for process in world.processes)


async def test_one_that_is_launched_meanwhile_is_ended_by_the_one_that_replaces_it(
    world: FakeWorld,
) -> None:
    world.mishaps.append(never_calls)
    supervisor = world.supervisor()
    supervisor.begin()
    await world.happens(EventKind.LAUNCHED)
    await supervisor.replace(OTHER)
    assert supervisor.state is PatternState.SERVING
    assert [process.end.done() for process in world.processes] == [True, False]
    await supervisor.stop()


async def test_one_that_was_drained_is_replaced_and_serves(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.drain()
    await supervisor.replace(OTHER)
    assert supervisor.state is PatternState.SERVING
    assert [process.end.done() for process in world.processes] == [True, False]
    assert world.kinds().count(EventKind.DRAINED) == 1


async def test_one_that_failed_stays_so_when_the_other_does_not_do_either(
    world: FakeWorld,
) -> None:
    supervisor = world.supervisor(Plan("cache", "memstore", {"max_value_bytes": "many"}))
    supervisor.begin()
    await supervisor.settled()
    before = supervisor.status.reason
    world.mishaps.append(ends("exited with status 1: no Redis"))
    with pytest.raises(PreconditionFailed, match=r"not replaced, and is as before: .*: no Redis"):
        await supervisor.replace(OTHER)
    assert (supervisor.state, supervisor.status.reason) == (PatternState.FAILED, before)
    assert world.kinds()[-1] is EventKind.KEPT
    await supervisor.stop()


async def test_one_that_forgets_does_not_take_the_place_of_nothing_either(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.drain()
    make = world.make_driver
    world.make_driver = lambda plan: Forgetful(make(plan))
    with pytest.raises(PreconditionFailed, match="is not what is read"):
        await supervisor.replace(OTHER)
    assert supervisor.state is PatternState.DRAINING


async def test_one_that_fails_while_it_is_replaced_was_to_be_compared(
    world: FakeWorld, sharing: Supervisor
) -> None:
    world.mishaps.append(never_calls)
    replacing = asyncio.create_task(sharing.replace(OTHER))
    await world.happens(EventKind.LAUNCHED, 2)
    world.every_launch = never_calls
    world.processes[0].exit("was killed by SIGKILL")
    await world.happens(EventKind.LAUNCHED, 3)
    world.register(world.processes[1], world.visits[1])
    with pytest.raises(PreconditionFailed, match=r"not replaced, .*'cache' is launching"):
        await replacing
    assert world.processes[1].end.done()


async def test_one_that_was_stopped_for_good_is_not_replaced(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.stop()
    with pytest.raises(CutShort, match=r"the replacement of the pattern 'cache' was cut short"):
        await supervisor.replace(OTHER)
    assert len(world.processes) == 1


class Lesser(Outliving):
    """Offers no batches."""

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
    """What is written there is lost."""

    async def get(self, key: str) -> Entry | None:
        return None
