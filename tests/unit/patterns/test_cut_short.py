"""Whoever ends a pattern does not wait for what is brought up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from prism.domain.patterns.bring_ups import CutShort
from prism.domain.patterns.patterns import NoSettings, Patterns
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternState, Plan
from prism.ports import DrainReport
from tests.unit.patterns.test_failing import LONG
from tests.unit.patterns.world import TERMS, FakeWorld, is_closed, never_calls

OTHER = Plan("cache", "other")
# Nothing here may wait for that.
HOURS = replace(TERMS, start_timeout=timedelta(hours=1))


async def _serving(world: FakeWorld) -> Supervisor:
    supervisor = world.supervisor(terms=HOURS, policy=LONG)
    supervisor.begin()
    await supervisor.settled()
    return supervisor


async def test_a_stop_cuts_a_replacement_short(world: FakeWorld) -> None:
    supervisor = await _serving(world)
    world.every_launch = never_calls
    replacing = asyncio.create_task(supervisor.replace(OTHER, discard_data=True))
    await world.happens(EventKind.LAUNCHED, 2)
    async with asyncio.timeout(10):
        await supervisor.stop()
    with pytest.raises(CutShort, match=r"the replacement of the pattern 'cache' was cut short"):
        await replacing
    old, new = world.processes
    assert (old.signals, new.signals) == ([], ["SIGTERM"])
    assert old.end.done()
    assert new.end.done()
    assert all(visit.closed for visit in world.visits)
    assert supervisor.state is PatternState.STOPPED
    assert "cut short" in world.message_of(EventKind.KEPT)


async def test_a_stop_cuts_a_restart_short(world: FakeWorld) -> None:
    supervisor = await _serving(world)
    world.every_launch = never_calls
    restarting = asyncio.create_task(supervisor.restart())
    await world.happens(EventKind.LAUNCHED, 2)
    async with asyncio.timeout(10):
        await supervisor.stop()
    with pytest.raises(CutShort, match=r"the restart of the pattern 'cache' was cut short"):
        await restarting
    assert all(process.end.done() for process in world.processes)


async def test_what_waits_its_turn_does_not_begin_before_a_stop(world: FakeWorld) -> None:
    supervisor = await _serving(world)
    world.every_launch = never_calls
    commands = [
        asyncio.create_task(supervisor.restart()),
        asyncio.create_task(supervisor.replace(OTHER, discard_data=True)),
        asyncio.create_task(supervisor.restart()),
    ]
    await world.happens(EventKind.LAUNCHED, 2)
    async with asyncio.timeout(10):
        await supervisor.stop()
    answers = await asyncio.gather(*commands, return_exceptions=True)
    assert [type(answer) for answer in answers] == [CutShort] * 3
    assert len(world.processes) == 2


async def test_a_drain_of_all_keeps_the_old_one_and_drains_it_in_order(world: FakeWorld) -> None:
    patterns = Patterns((Plan("cache", "memstore"),), world.world, HOURS, LONG)
    await patterns.initialize(NoSettings())
    await patterns.start()
    supervisor = patterns.find("cache")
    gateway = supervisor.gateway
    assert gateway is not None
    world.every_launch = never_calls
    replacing = asyncio.create_task(supervisor.replace(OTHER, discard_data=True))
    await world.happens(EventKind.LAUNCHED, 2)
    with gateway.admission.admit():
        draining = asyncio.create_task(patterns.drain())
        await is_closed(gateway.admission)
    async with asyncio.timeout(10):
        assert await draining == DrainReport(completed=1)
        assert supervisor.state is PatternState.DRAINING
        await patterns.stop()
    with pytest.raises(CutShort):
        await replacing
    assert world.processes[0].signals == []
    assert world.processes[1].end.done()


async def test_a_drain_of_all_waits_for_calls_of_the_one_that_was_replaced(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    gateway = supervisor.gateway
    assert gateway is not None
    with gateway.admission.admit():
        replacing = asyncio.create_task(supervisor.replace(OTHER, discard_data=True))
        await is_closed(gateway.admission)
        leaving = asyncio.create_task(supervisor.leave())
        await world.happens(EventKind.DRAINED)
        assert not (await asyncio.wait((leaving,), timeout=0.05))[0]
        assert not world.processes[0].end.done()
    await leaving
    await replacing


async def test_a_stop_does_not_wait_for_calls_of_the_one_that_was_replaced(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    gateway = supervisor.gateway
    assert gateway is not None
    with gateway.admission.admit():
        replacing = asyncio.create_task(supervisor.replace(OTHER, discard_data=True))
        await is_closed(gateway.admission)
        stopping = asyncio.create_task(supervisor.stop())
        async with asyncio.timeout(10):
            await asyncio.gather(*(process.end for process in world.processes))
    await stopping
    await replacing


async def test_a_stop_does_not_wait_for_calls_that_a_restart_waits_for(
    world: FakeWorld, supervisor: Supervisor
) -> None:
    gateway = supervisor.gateway
    assert gateway is not None
    with gateway.admission.admit():
        restarting = asyncio.create_task(supervisor.restart())
        await is_closed(gateway.admission)
        stopping = asyncio.create_task(supervisor.stop())
        async with asyncio.timeout(10):
            await world.processes[0].end
    await stopping
    with pytest.raises(CutShort):
        await restarting
    assert all(process.end.done() for process in world.processes)
