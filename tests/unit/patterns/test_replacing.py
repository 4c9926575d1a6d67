"""One process takes the place of another, and no call notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from prism.domain.patterns.comparison import SCRATCH_PREFIX
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternState, Plan
from prism.ports import Capability, Driver, PreconditionFailed, Profile
from tests.unit.patterns.world import FakeWorld, Outliving, ends, shared_store

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
    with sharing.gateway.admission.admit():
        replacing = asyncio.create_task(sharing.replace(OTHER))
        await world.happens(EventKind.REPLACED)
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


async def test_one_that_does_not_serve_cannot_be_replaced(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    await supervisor.stop()
    with pytest.raises(PreconditionFailed, match=r"'cache' is stopped"):
        await supervisor.replace(OTHER)


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
