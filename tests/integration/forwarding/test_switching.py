"""What becomes of calls while a pattern is replaced, restarts, breaks or is drained."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    NotServing,
    Outcome,
    Put,
    Version,
    WatchEnded,
)
from tests.integration.forwarding.world import World, until

WAYS = pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])


async def held(world: World, kv: Any, key: str) -> asyncio.Task[Version]:
    """A set that the current process works on until it is released."""
    task = asyncio.create_task(kv.set(key, b"before"))
    await until(lambda: world.a.driver.entered == [key])
    return task


@WAYS
async def test_from_the_switch_on_calls_go_to_the_new_process(world: World, streams: bool) -> None:
    kv = world.client(streams=streams)
    old, old_admission = world.a.driver, world.a.admission
    waiting = asyncio.create_task(kv.get("held"))
    await until(lambda: old.entered == ["held"])
    await world.a.launch()
    await kv.set("k", b"v")
    assert await world.a.driver.exists("k")
    assert not await old.exists("k")
    assert old_admission.in_flight == 1
    old.release.set()
    assert await waiting is None


async def test_no_call_fails_while_a_pattern_is_replaced_again_and_again(world: World) -> None:
    kv = world.client()
    replaced = asyncio.Event()

    async def call() -> int:
        calls = 0
        while not replaced.is_set():
            await kv.set("k", b"v")
            calls += 1
        return calls

    callers = [asyncio.create_task(call()) for _ in range(16)]
    for _ in range(5):
        before = world.a.admission
        await world.a.launch()
        before.close("replaced by another process")
        await before.drain(timedelta(seconds=10))
    replaced.set()
    assert min(await asyncio.gather(*callers)) > 0


async def test_an_operation_waits_for_one_on_its_key_that_the_process_before_still_works_on(
    world: World,
) -> None:
    kv = world.client()
    old = world.a.driver
    first = await held(world, kv, "held")
    await world.a.launch()
    second = asyncio.create_task(kv.set("held", b"second"))
    await kv.set("k", b"v")
    assert not world.a.driver.entered
    old.release.set()
    await first
    await until(lambda: world.a.driver.entered == ["held"])
    world.a.driver.release.set()
    await second


async def test_a_batch_that_has_to_wait_for_one_key_keeps_its_turn_on_the_others(
    world: World,
) -> None:
    kv = world.client()
    first = world.a.driver
    held_by_first = await held(world, kv, "held/1")
    await world.a.launch()
    second = world.a.driver
    held_by_second = await held(world, kv, "held/2")
    puts = [Put("held/1", b"after"), Put("held/2", b"after")]
    batch = asyncio.create_task(kv.set_many(puts))
    await kv.set("k", b"v")

    await world.a.launch()
    third = world.a.driver
    first.release.set()
    await held_by_first
    await kv.set("k", b"v")
    assert not await third.exists("held/1"), "it began, while the second works on its other key"

    second.release.set()
    await held_by_second
    await batch
    assert await third.exists("held/1")


@WAYS
async def test_a_call_waits_for_a_pattern_that_restarts(world: World, streams: bool) -> None:
    kv = world.client(streams=streams)
    world.a.restarting()
    waiting = asyncio.create_task(kv.set("k", b"v"))
    await until(lambda: world.admission.in_flight == 1)
    await world.a.launch()
    await waiting
    assert await world.a.driver.exists("k")
    assert not world.admission.in_flight


@WAYS
async def test_a_call_that_waits_no_longer_was_not_applied(world: World, streams: bool) -> None:
    kv = world.client(streams=streams, timeout=timedelta(milliseconds=200))
    world.a.restarting()
    with pytest.raises(BackendTimeout, match="'a' is starting") as failure:
        await kv.set("k", b"v")
    assert failure.value.outcome is Outcome.NOT_APPLIED


async def test_operations_that_waited_for_their_pattern_keep_their_order(world: World) -> None:
    kv = world.client()
    world.a.restarting()
    writes = [asyncio.create_task(kv.set("k", b"%d" % n)) for n in range(20)]
    await until(lambda: world.admission.in_flight == 20)
    await world.a.launch()
    writes += [asyncio.create_task(kv.set("k", b"%d" % n)) for n in range(20, 40)]
    await asyncio.gather(*writes)
    assert (await world.a.driver.get("k")).value == b"39"


@WAYS
async def test_whoever_waits_when_the_proxy_drains_was_not_applied(
    world: World, streams: bool
) -> None:
    kv = world.client(streams=streams)
    world.a.restarting()
    waiting = asyncio.create_task(kv.set("k", b"v"))
    await until(lambda: world.admission.in_flight == 1)
    await world.lifecycle.drain(timedelta())
    with pytest.raises(NotServing) as refusal:
        await waiting
    assert refusal.value.outcome is Outcome.NOT_APPLIED


@WAYS
async def test_a_drain_of_the_proxy_finishes_what_is_in_flight_and_refuses_the_rest(
    world: World, streams: bool
) -> None:
    kv = world.client(streams=streams)
    waiting = [asyncio.create_task(kv.set("held", b"%d" % n)) for n in range(2)]
    await until(lambda: world.a.admission.in_flight == 2)
    drain = asyncio.create_task(world.lifecycle.drain())
    await until(lambda: bool(world.lifecycle.current == "draining"))
    with pytest.raises(NotServing) as refusal:
        await kv.set("k", b"v")
    assert refusal.value.outcome is Outcome.NOT_APPLIED
    world.a.driver.release.set()
    await asyncio.gather(*waiting)
    assert (await drain).completed == 2


@WAYS
async def test_a_pattern_that_is_gone_is_called_by_its_name_and_not_by_its_socket(
    world: World, streams: bool
) -> None:
    kv = world.client(streams=streams)
    await kv.set("k", b"v")
    await world.a.server.stop()
    with pytest.raises(BackendUnavailable, match="the pattern 'a' does not answer") as failure:
        await kv.set("k", b"v")
    assert "sock" not in failure.value.message
    await world.client(streams=streams, pattern="b").set("k", b"v")


async def test_events_come_through_as_they_are(world: World) -> None:
    kv = world.client()
    async with kv.watch("k") as events:
        version = await kv.set("k1", b"v")
        await kv.set("other", b"v")
        await kv.delete("k1")
        put, deleted = await anext(events), await anext(events)
    assert (put.change, put.key, put.value, put.version) == ("put", "k1", b"v", version)
    assert (deleted.change, deleted.key) == ("delete", "k1")


async def test_a_watch_ends_when_its_caller_goes(world: World) -> None:
    gateway = world.a.gateway
    assert gateway is not None
    async with world.client().watch():
        assert gateway.watches.active == 1
    await until(lambda: not gateway.watches.active)


async def test_a_watch_ends_with_a_reason_when_its_pattern_breaks(world: World) -> None:
    async with world.client().watch() as events:
        await world.a.server.stop()
        with pytest.raises((WatchEnded, NotServing), match=r"pattern 'a'|not serving") as ended:
            await anext(events)
    assert "sock" not in ended.value.message


async def test_a_watch_ends_with_the_reason_of_the_pattern(world: World) -> None:
    async with world.client().watch() as events:
        await world.a.lifecycle.drain()
        with pytest.raises(NotServing, match="draining"):
            await anext(events)


async def test_a_watch_ends_when_another_process_takes_over(world: World) -> None:
    async with world.client().watch() as events:
        before = world.a.admission
        await world.a.launch()
        before.close("replaced by another process; begin again")
        with pytest.raises(NotServing, match="begin again"):
            await anext(events)
    async with world.client().watch() as events:
        await world.client().set("k", b"v")
        assert (await anext(events)).key == "k"
