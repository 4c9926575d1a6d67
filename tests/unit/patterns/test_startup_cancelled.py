"""Drains and stops that cancel start-up work."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from prism.domain.patterns.pattern import Pattern, StartupCancelled
from prism.domain.patterns.supervisor import NoSettings, Supervisor
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.ports import DrainReport
from tests.unit.patterns.fakes import POLICY, FakePorts, never_registers, wait_closed
from tests.unit.patterns.test_restart_loop import LONG

OTHER = PatternSpec("cache", "other")
# A test that waits for it hangs.
HOURS = replace(POLICY, start_timeout=timedelta(hours=1))


async def _serving(fakes: FakePorts) -> Pattern:
    pattern = fakes.pattern(policy=HOURS, backoff=LONG)
    pattern.begin()
    await pattern.settled()
    return pattern


async def test_stop_cancels_a_replacement(fakes: FakePorts) -> None:
    pattern = await _serving(fakes)
    fakes.every_launch = never_registers
    replacing = asyncio.create_task(pattern.replace(OTHER, discard_data=True))
    await fakes.wait_for(EventKind.LAUNCHED, 2)
    async with asyncio.timeout(30):
        await pattern.stop()
    with pytest.raises(
        StartupCancelled, match=r"the replacement of the pattern 'cache' was cancelled"
    ):
        await replacing
    old, new = fakes.processes
    assert (old.signals, new.signals) == ([], ["SIGTERM"])
    assert old.end.done()
    assert new.end.done()
    assert all(each.closed for each in fakes.pending)
    assert pattern.state is PatternState.STOPPED
    assert "cancelled" in fakes.message_of(EventKind.KEPT)


async def test_stop_cancels_a_restart(fakes: FakePorts) -> None:
    pattern = await _serving(fakes)
    fakes.every_launch = never_registers
    restarting = asyncio.create_task(pattern.restart())
    await fakes.wait_for(EventKind.LAUNCHED, 2)
    async with asyncio.timeout(30):
        await pattern.stop()
    with pytest.raises(StartupCancelled, match=r"the restart of the pattern 'cache' was cancelled"):
        await restarting
    assert all(process.end.done() for process in fakes.processes)


async def test_stop_cancels_waiting_commands(fakes: FakePorts) -> None:
    pattern = await _serving(fakes)
    fakes.every_launch = never_registers
    commands = [
        asyncio.create_task(pattern.restart()),
        asyncio.create_task(pattern.replace(OTHER, discard_data=True)),
        asyncio.create_task(pattern.restart()),
    ]
    await fakes.wait_for(EventKind.LAUNCHED, 2)
    async with asyncio.timeout(30):
        await pattern.stop()
    answers = await asyncio.gather(*commands, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StartupCancelled] * 3
    assert len(fakes.processes) == 2


async def test_drain_for_shutdown_cancels_a_replacement_and_drains_the_old_process(
    fakes: FakePorts,
) -> None:
    patterns = Supervisor((PatternSpec("cache", "memstore"),), fakes.ports, HOURS, LONG)
    await patterns.initialize(NoSettings())
    await patterns.start()
    pattern = patterns.find("cache")
    gateway = pattern.gateway
    assert gateway is not None
    fakes.every_launch = never_registers
    replacing = asyncio.create_task(pattern.replace(OTHER, discard_data=True))
    await fakes.wait_for(EventKind.LAUNCHED, 2)
    with gateway.admission.admit():
        draining = asyncio.create_task(patterns.drain())
        await wait_closed(gateway.admission)
    async with asyncio.timeout(30):
        assert await draining == DrainReport(completed=1)
        assert pattern.state is PatternState.DRAINING
        await patterns.stop()
    with pytest.raises(StartupCancelled):
        await replacing
    assert fakes.processes[0].signals == []
    assert fakes.processes[1].end.done()


async def test_drain_for_shutdown_waits_for_calls_of_a_replaced_process(
    fakes: FakePorts, pattern: Pattern
) -> None:
    gateway = pattern.gateway
    assert gateway is not None
    with gateway.admission.admit():
        replacing = asyncio.create_task(pattern.replace(OTHER, discard_data=True))
        await wait_closed(gateway.admission)
        leaving = asyncio.create_task(pattern.drain_for_shutdown())
        await fakes.wait_for(EventKind.DRAINED)
        assert not (await asyncio.wait((leaving,), timeout=0.05))[0]
        assert not fakes.processes[0].end.done()
    await leaving
    await replacing


async def test_stop_does_not_wait_for_calls_of_a_replaced_process(
    fakes: FakePorts, pattern: Pattern
) -> None:
    gateway = pattern.gateway
    assert gateway is not None
    with gateway.admission.admit():
        replacing = asyncio.create_task(pattern.replace(OTHER, discard_data=True))
        await wait_closed(gateway.admission)
        stopping = asyncio.create_task(pattern.stop())
        async with asyncio.timeout(30):
            await asyncio.gather(*(process.end for process in fakes.processes))
    await stopping
    await replacing


async def test_stop_does_not_wait_for_calls_that_a_restart_drains(
    fakes: FakePorts, pattern: Pattern
) -> None:
    gateway = pattern.gateway
    assert gateway is not None
    with gateway.admission.admit():
        restarting = asyncio.create_task(pattern.restart())
        await wait_closed(gateway.admission)
        stopping = asyncio.create_task(pattern.stop())
        async with asyncio.timeout(30):
            await fakes.processes[0].end
    await stopping
    with pytest.raises(StartupCancelled):
        await restarting
    assert all(process.end.done() for process in fakes.processes)
