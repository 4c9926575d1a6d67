"""Calls while a pattern is replaced, restarts, fails or is drained."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
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
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.forwarding.fakes import Proxy, until

WAYS = pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])


async def held(proxy: Proxy, kv: Any, key: str) -> asyncio.Task[Version]:
    """Start a set that waits in the current process until released."""
    task = asyncio.create_task(kv.set(key, b"before"))
    await until(lambda: proxy.a.driver.entered == [key])
    return task


@WAYS
async def test_calls_after_a_switch_go_to_the_new_process(proxy: Proxy, streams: bool) -> None:
    kv = proxy.client(streams=streams)
    old, old_admission = proxy.a.driver, proxy.a.admission
    waiting = asyncio.create_task(kv.get("held"))
    await until(lambda: old.entered == ["held"])
    await proxy.a.launch()
    await kv.set("k", b"v")
    assert await proxy.a.driver.exists("k")
    assert not await old.exists("k")
    assert old_admission.in_flight == 1
    old.release.set()
    assert await waiting is None


async def test_no_call_fails_while_a_pattern_is_replaced_repeatedly(proxy: Proxy) -> None:
    kv = proxy.client()
    replaced = asyncio.Event()

    async def call() -> int:
        calls = 0
        while not replaced.is_set():
            await kv.set("k", b"v")
            calls += 1
        return calls

    callers = [asyncio.create_task(call()) for _ in range(16)]
    for _ in range(5):
        before = proxy.a.admission
        await proxy.a.launch()
        before.close("replaced by another process")
        await before.drain(timedelta(seconds=10))
    replaced.set()
    assert min(await asyncio.gather(*callers)) > 0


async def test_operation_waits_for_an_earlier_one_on_its_key_at_the_previous_process(
    proxy: Proxy,
) -> None:
    kv = proxy.client()
    old = proxy.a.driver
    first = await held(proxy, kv, "held")
    await proxy.a.launch()
    second = asyncio.create_task(kv.set("held", b"second"))
    await kv.set("k", b"v")
    assert not proxy.a.driver.entered
    old.release.set()
    await first
    await until(lambda: proxy.a.driver.entered == ["held"])
    proxy.a.driver.release.set()
    await second


async def test_batch_that_waits_for_one_key_keeps_its_place_on_the_others(
    proxy: Proxy,
) -> None:
    kv = proxy.client()
    first = proxy.a.driver
    held_by_first = await held(proxy, kv, "held/1")
    await proxy.a.launch()
    second = proxy.a.driver
    held_by_second = await held(proxy, kv, "held/2")
    puts = [Put("held/1", b"after"), Put("held/2", b"after")]
    batch = asyncio.create_task(kv.set_many(puts))
    await kv.set("k", b"v")

    await proxy.a.launch()
    third = proxy.a.driver
    first.release.set()
    await held_by_first
    await kv.set("k", b"v")
    assert not await third.exists("held/1"), "it began, while the second works on its other key"

    second.release.set()
    await held_by_second
    await batch
    assert await third.exists("held/1")


@WAYS
async def test_call_waits_for_a_pattern_that_restarts(proxy: Proxy, streams: bool) -> None:
    kv = proxy.client(streams=streams)
    proxy.a.restarting()
    waiting = asyncio.create_task(kv.set("k", b"v"))
    await until(lambda: proxy.admission.in_flight == 1)
    await proxy.a.launch()
    await waiting
    assert await proxy.a.driver.exists("k")
    assert not proxy.admission.in_flight


@WAYS
async def test_call_that_waits_in_vain_is_not_applied(proxy: Proxy, streams: bool) -> None:
    kv = proxy.client(streams=streams, timeout=timedelta(milliseconds=200))
    proxy.a.restarting()
    with pytest.raises(BackendTimeout, match="'a' is starting") as failure:
        await kv.set("k", b"v")
    assert failure.value.outcome is Outcome.NOT_APPLIED


async def test_operations_that_waited_for_their_pattern_stay_in_order(proxy: Proxy) -> None:
    kv = proxy.client()
    proxy.a.restarting()
    writes = [asyncio.create_task(kv.set("k", b"%d" % n)) for n in range(20)]
    await until(lambda: proxy.admission.in_flight == 20)
    await proxy.a.launch()
    writes += [asyncio.create_task(kv.set("k", b"%d" % n)) for n in range(20, 40)]
    await asyncio.gather(*writes)
    assert (await proxy.a.driver.get("k")).value == b"39"


@WAYS
async def test_call_that_waits_when_the_proxy_drains_is_not_applied(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    proxy.a.restarting()
    waiting = asyncio.create_task(kv.set("k", b"v"))
    await until(lambda: proxy.admission.in_flight == 1)
    await proxy.lifecycle.drain(timedelta())
    with pytest.raises(NotServing) as refusal:
        await waiting
    assert refusal.value.outcome is Outcome.NOT_APPLIED


@WAYS
async def test_drain_of_the_proxy_finishes_calls_in_flight_and_refuses_later_ones(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    waiting = [asyncio.create_task(kv.set("held", b"%d" % n)) for n in range(2)]
    await until(lambda: proxy.a.admission.in_flight == 2)
    drain = asyncio.create_task(proxy.lifecycle.drain())
    await until(lambda: bool(proxy.lifecycle.current == "draining"))
    with pytest.raises(NotServing) as refusal:
        await kv.set("k", b"v")
    assert refusal.value.outcome is Outcome.NOT_APPLIED
    proxy.a.driver.release.set()
    await asyncio.gather(*waiting)
    assert (await drain).completed == 2


@WAYS
async def test_error_of_a_lost_pattern_has_its_name_and_not_its_socket(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams)
    await kv.set("k", b"v")
    await proxy.a.server.stop()
    with pytest.raises(BackendUnavailable, match="the pattern 'a' does not answer") as failure:
        await kv.set("k", b"v")
    assert "sock" not in failure.value.message
    await proxy.client(streams=streams, pattern="b").set("k", b"v")


async def test_watch_events_are_forwarded_unchanged(proxy: Proxy) -> None:
    kv = proxy.client()
    async with kv.watch("k") as events:
        version = await kv.set("k1", b"v")
        await kv.set("other", b"v")
        await kv.delete("k1")
        put, deleted = await anext(events), await anext(events)
    assert (put.change, put.key, put.value, put.version) == ("put", "k1", b"v", version)
    assert (deleted.change, deleted.key) == ("delete", "k1")


async def test_watch_has_heartbeats_through_a_proxy(proxy: Proxy) -> None:
    request = pb.WatchRequest()
    request.heartbeat_interval.FromMilliseconds(100)
    channel: Any
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.unary_stream("/prism.v1.KeyValueService/Watch")(request.SerializeToString())
        messages = [pb.WatchResponse.FromString(await call.read()) for _ in range(3)]
    kinds = [message.WhichOneof("message") for message in messages]
    assert kinds == ["started", "heartbeat", "heartbeat"]


async def test_watch_ends_when_its_caller_goes(proxy: Proxy) -> None:
    gateway = proxy.a.gateway
    assert gateway is not None
    async with proxy.client().watch():
        assert gateway.watches.active == 1
    await until(lambda: not gateway.watches.active)


async def test_watch_ends_with_a_reason_when_its_pattern_fails(proxy: Proxy) -> None:
    async with proxy.client().watch() as events:
        await proxy.a.server.stop()
        with pytest.raises((WatchEnded, NotServing), match=r"pattern 'a'|not serving") as ended:
            await anext(events)
    assert "sock" not in ended.value.message


async def test_watch_ends_with_the_reason_of_the_pattern(proxy: Proxy) -> None:
    async with proxy.client().watch() as events:
        await proxy.a.lifecycle.drain()
        with pytest.raises(NotServing, match="draining"):
            await anext(events)


async def test_watch_ends_when_a_new_process_takes_over(proxy: Proxy) -> None:
    async with proxy.client().watch() as events:
        before = proxy.a.admission
        await proxy.a.launch()
        before.close("replaced by another process; begin again")
        with pytest.raises(NotServing, match="begin again"):
            await anext(events)
    async with proxy.client().watch() as events:
        await proxy.client().set("k", b"v")
        assert (await anext(events)).key == "k"
