"""Deadlines, cancelling and limits through a proxy."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from prism.adapters.wire.status import error_of
from prism.domain.turns import Turns
from prism.ports import BackendTimeout, Exhausted, Outcome, Version, VersionConflict
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.forwarding.fakes import OPERATE, Proxy, until

WAYS = pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])


@WAYS
@pytest.mark.parametrize("seconds", [7, 70])
async def test_pattern_gets_the_rest_of_the_deadline(
    proxy: Proxy, streams: bool, seconds: int
) -> None:
    kv = proxy.client(streams=streams, timeout=timedelta(seconds=seconds))
    await kv.get("k")
    left = proxy.a.seen.timeouts[-1]
    assert left is not None
    # grpcio rounds up to the resolution of its header.
    assert seconds - 5 < left < seconds + 1


async def test_default_timeout_of_the_proxy_applies_without_a_deadline(idle: Proxy) -> None:
    await idle.a.launch()
    await idle.serve(default_timeout=timedelta(seconds=9))
    await _operate(idle, pb.Operation(id=1, get=pb.GetRequest(key="k")))
    left = idle.a.seen.timeouts[-1]
    assert left is not None
    assert 4 < left <= 9


@WAYS
async def test_write_that_exceeds_its_deadline_has_an_unknown_outcome(
    proxy: Proxy, streams: bool
) -> None:
    kv = proxy.client(streams=streams, timeout=timedelta(milliseconds=200))
    # On a busy machine it may not arrive within its deadline.
    while not proxy.a.driver.entered:
        with pytest.raises(BackendTimeout) as failure:
            await kv.set("held", b"v")
    assert failure.value.outcome is Outcome.UNKNOWN
    await until(lambda: proxy.a.driver.cancelled == proxy.a.driver.entered)
    await until(lambda: not proxy.a.admission.in_flight)


@WAYS
async def test_cancelling_a_call_cancels_it_at_the_pattern(proxy: Proxy, streams: bool) -> None:
    kv = proxy.client(streams=streams)
    waiting = asyncio.create_task(kv.get("held"))
    await until(lambda: proxy.a.driver.entered == ["held"])
    waiting.cancel()
    await until(lambda: proxy.a.driver.cancelled == ["held"])
    await until(lambda: not proxy.a.admission.in_flight)
    assert await kv.get("k") is None


async def test_operation_is_cancelled_by_its_id(proxy: Proxy) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.stream_stream(OPERATE)()
        held = pb.Operation(id=7, get=pb.GetRequest(key="held"))
        await call.write(pb.OperateRequest(operations=[held]).SerializeToString())
        await until(lambda: proxy.a.driver.entered == ["held"])
        await call.write(pb.OperateRequest(cancel_ids=[7]).SerializeToString())
        (outcome,) = pb.OperateResponse.FromString(await call.read()).outcomes
        assert outcome.id == 7
        assert outcome.error.code == grpc.StatusCode.CANCELLED.value[0]
        await until(lambda: proxy.a.driver.cancelled == ["held"])


async def test_operations_of_a_stream_are_cancelled_when_its_caller_goes(proxy: Proxy) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.stream_stream(OPERATE)()
        held = [pb.Operation(id=n, get=pb.GetRequest(key=f"held {n}")) for n in range(3)]
        await call.write(pb.OperateRequest(operations=held).SerializeToString())
        await until(lambda: len(proxy.a.driver.entered) == 3)
        call.cancel()
        await until(lambda: len(proxy.a.driver.cancelled) == 3)
    await until(lambda: not proxy.a.admission.in_flight)


async def test_hanging_pattern_takes_no_slot_of_another(proxy: Proxy) -> None:
    kv, other = proxy.client(), proxy.client(pattern="b")
    hung = [asyncio.create_task(kv.get(f"held {number}")) for number in range(100)]
    # Also on one key: operations wait at the pattern, not in the proxy.
    hung += [asyncio.create_task(kv.get("held 0")) for _ in range(100)]
    await until(lambda: proxy.a.admission.in_flight == 100)
    with pytest.raises(Exhausted) as refusal:
        await kv.get("k")
    assert refusal.value.reason == "TOO_MANY_IN_FLIGHT"
    assert not proxy.admission.in_flight
    for number in range(200):
        await other.set(f"k{number}", b"v")
    proxy.a.driver.release.set()
    await asyncio.gather(*hung, return_exceptions=True)
    assert await kv.get("k") is None


async def _operate(proxy: Proxy, *operations: pb.Operation) -> list[pb.OperationOutcome]:
    """Send the operations in one message of a stream without a deadline."""
    channel: Any
    outcomes: list[pb.OperationOutcome] = []
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.stream_stream(OPERATE)()
        await call.write(pb.OperateRequest(operations=operations).SerializeToString())
        await call.done_writing()
        async for data in call:
            outcomes += pb.OperateResponse.FromString(data).outcomes
    return outcomes


async def test_operations_on_one_key_take_effect_in_the_order_sent(proxy: Proxy) -> None:
    operations = [
        pb.Operation(id=2 * n + 1, set=pb.SetRequest(key="k", value=b"%d" % n)) for n in range(80)
    ] + [pb.Operation(id=1000, get=pb.GetRequest(key="k"))]
    outcomes = {outcome.id: outcome for outcome in await _operate(proxy, *operations)}
    assert len(outcomes) == 81
    assert outcomes[1000].get.entry.value == b"79"


async def test_large_write_stays_in_order_with_others_on_its_key(proxy: Proxy) -> None:
    large = [
        pb.Operation(id=n, set=pb.SetRequest(key="k", value=b"%d" % n + bytes(n % 2 * 300_000)))
        for n in range(1, 11)
    ]
    outcomes = await _operate(proxy, *large, pb.Operation(id=11, get=pb.GetRequest(key="k")))
    last = next(outcome for outcome in outcomes if outcome.id == 11)
    assert last.get.entry.value == b"10"


async def test_operations_are_counted_once_at_the_proxy(proxy: Proxy) -> None:
    kv = proxy.client()
    await asyncio.gather(*(kv.set(f"k{n}", b"v") for n in range(10)))
    tally = proxy.servicer.kinds["set"].tally
    assert (tally.started, tally.ended) == (10, 10)
    assert proxy.services.calls[OPERATE].tally.started == 1


async def test_failed_operation_is_counted_for_its_pattern(proxy: Proxy) -> None:
    kv = proxy.client()
    with pytest.raises(VersionConflict):
        await kv.compare_and_delete("k", expected=Version(1))
    gateway: Any = proxy.a.gateway
    tallies = gateway.tallies
    assert tallies["compare_and_delete"].failed == {VersionConflict: 1}
    assert sum(tallies["compare_and_delete"].durations.counts) == 1
    assert sum(tallies["delete"].durations.counts) == 0


async def test_failed_operation_is_counted_by_status(proxy: Proxy) -> None:
    (outcome,) = await _operate(proxy, pb.Operation(id=1, get=pb.GetRequest(key="")))
    assert error_of(outcome.error).reason == "INVALID_ARGUMENT"
    assert proxy.servicer.kinds["get"].tally.failed == {
        grpc.StatusCode.INVALID_ARGUMENT.value[0]: 1
    }


async def test_a_connection_has_few_long_operations_at_a_pattern_at_once(proxy: Proxy) -> None:
    kv, other = proxy.client(), proxy.client()
    scans = [asyncio.create_task(kv.scan("held")) for _ in range(50)]
    await until(lambda: len(proxy.a.driver.entered) == 16)
    # The other scans wait in the proxy; operations on one key, and other connections, do not.
    assert await kv.get("k") is None
    await until(lambda: proxy.admission.in_flight == 34)
    others = asyncio.create_task(other.scan("held"))
    await until(lambda: len(proxy.a.driver.entered) == 17)
    proxy.a.driver.release.set()
    pages = await asyncio.gather(*scans, others)
    assert len(pages) == 51


async def test_a_long_operation_that_waited_for_others_takes_a_turn_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = 0
    wait = Turns.wait

    async def count(turns: Turns, connection: str) -> None:
        nonlocal waited
        waited += 1
        await wait(turns, connection)

    kv = proxy.client()
    scans = [asyncio.create_task(kv.scan("held")) for _ in range(20)]
    entered = proxy.a.driver.entered
    await until(lambda: len(entered) == 16 and proxy.admission.in_flight == 4)
    monkeypatch.setattr(Turns, "wait", count)
    proxy.a.driver.release.set()
    await asyncio.gather(*scans)
    assert waited == 4
