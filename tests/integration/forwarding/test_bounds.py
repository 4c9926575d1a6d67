"""Deadlines, giving up and limits, as they pass through a proxy."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from prism.adapters.wire.status import error_of
from prism.ports import BackendTimeout, Exhausted, Outcome, Version, VersionConflict
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.forwarding.world import OPERATE, World, until

WAYS = pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])


@WAYS
@pytest.mark.parametrize("seconds", [7, 70])
async def test_the_pattern_is_told_what_is_left_of_the_deadline(
    world: World, streams: bool, seconds: int
) -> None:
    kv = world.client(streams=streams, timeout=timedelta(seconds=seconds))
    await kv.get("k")
    left = world.a.seen.timeouts[-1]
    assert left is not None
    # grpcio rounds up to what its header can tell.
    assert seconds - 5 < left < seconds + 1


async def test_without_a_deadline_of_the_caller_that_of_the_proxy_holds(idle: World) -> None:
    await idle.a.launch()
    await idle.serve(default_timeout=timedelta(seconds=9))
    await _operate(idle, pb.Operation(id=1, get=pb.GetRequest(key="k")))
    left = idle.a.seen.timeouts[-1]
    assert left is not None
    assert 4 < left <= 9


@WAYS
async def test_a_write_that_outlasts_its_deadline_has_an_unknown_outcome(
    world: World, streams: bool
) -> None:
    kv = world.client(streams=streams, timeout=timedelta(milliseconds=200))
    with pytest.raises(BackendTimeout) as failure:
        await kv.set("held", b"v")
    assert failure.value.outcome is Outcome.UNKNOWN
    await until(lambda: world.a.driver.cancelled == ["held"])
    await until(lambda: not world.a.admission.in_flight)


@WAYS
async def test_what_its_caller_gives_up_is_given_up_at_the_pattern(
    world: World, streams: bool
) -> None:
    kv = world.client(streams=streams)
    waiting = asyncio.create_task(kv.get("held"))
    await until(lambda: world.a.driver.entered == ["held"])
    waiting.cancel()
    await until(lambda: world.a.driver.cancelled == ["held"])
    await until(lambda: not world.a.admission.in_flight)
    assert await kv.get("k") is None


async def test_an_operation_is_given_up_by_its_id(world: World) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(world.address) as channel:
        call = channel.stream_stream(OPERATE)()
        held = pb.Operation(id=7, get=pb.GetRequest(key="held"))
        await call.write(pb.OperateRequest(operations=[held]).SerializeToString())
        await until(lambda: world.a.driver.entered == ["held"])
        await call.write(pb.OperateRequest(cancel_ids=[7]).SerializeToString())
        (outcome,) = pb.OperateResponse.FromString(await call.read()).outcomes
        assert outcome.id == 7
        assert outcome.error.code == grpc.StatusCode.CANCELLED.value[0]
        await until(lambda: world.a.driver.cancelled == ["held"])


async def test_whatever_a_stream_began_is_given_up_when_its_caller_goes(world: World) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(world.address) as channel:
        call = channel.stream_stream(OPERATE)()
        held = [pb.Operation(id=n, get=pb.GetRequest(key=f"held {n}")) for n in range(3)]
        await call.write(pb.OperateRequest(operations=held).SerializeToString())
        await until(lambda: len(world.a.driver.entered) == 3)
        call.cancel()
        await until(lambda: len(world.a.driver.cancelled) == 3)
    await until(lambda: not world.a.admission.in_flight)


async def test_a_pattern_that_hangs_takes_no_slot_of_another(world: World) -> None:
    kv, other = world.client(), world.client(pattern="b")
    hung = [asyncio.create_task(kv.get(f"held {number}")) for number in range(100)]
    # On one key as well: they wait at the pattern, and not in the proxy.
    hung += [asyncio.create_task(kv.get("held 0")) for _ in range(100)]
    await until(lambda: world.a.admission.in_flight == 100)
    with pytest.raises(Exhausted) as refusal:
        await kv.get("k")
    assert refusal.value.reason == "TOO_MANY_IN_FLIGHT"
    assert not world.admission.in_flight
    for number in range(200):
        await other.set(f"k{number}", b"v")
    world.a.driver.release.set()
    await asyncio.gather(*hung, return_exceptions=True)
    assert await kv.get("k") is None


async def _operate(world: World, *operations: pb.Operation) -> list[pb.OperationOutcome]:
    """All in one message, without a deadline of their stream."""
    channel: Any
    outcomes: list[pb.OperationOutcome] = []
    async with grpc.aio.insecure_channel(world.address) as channel:
        call = channel.stream_stream(OPERATE)()
        await call.write(pb.OperateRequest(operations=operations).SerializeToString())
        await call.done_writing()
        async for data in call:
            outcomes += pb.OperateResponse.FromString(data).outcomes
    return outcomes


async def test_operations_on_one_key_take_effect_in_the_order_sent(world: World) -> None:
    operations = [
        pb.Operation(id=2 * n + 1, set=pb.SetRequest(key="k", value=b"%d" % n)) for n in range(80)
    ] + [pb.Operation(id=1000, get=pb.GetRequest(key="k"))]
    outcomes = {outcome.id: outcome for outcome in await _operate(world, *operations)}
    assert len(outcomes) == 81
    assert outcomes[1000].get.entry.value == b"79"


async def test_a_large_write_keeps_its_place_among_those_on_its_key(world: World) -> None:
    large = [
        pb.Operation(id=n, set=pb.SetRequest(key="k", value=b"%d" % n + bytes(n % 2 * 300_000)))
        for n in range(1, 11)
    ]
    outcomes = await _operate(world, *large, pb.Operation(id=11, get=pb.GetRequest(key="k")))
    last = next(outcome for outcome in outcomes if outcome.id == 11)
    assert last.get.entry.value == b"10"


async def test_operations_are_counted_once_at_the_proxy(world: World) -> None:
    kv = world.client()
    await asyncio.gather(*(kv.set(f"k{n}", b"v") for n in range(10)))
    tally = world.servicer.kinds["set"].tally
    assert (tally.started, tally.ended) == (10, 10)
    assert world.services.calls[OPERATE].tally.started == 1


async def test_an_operation_that_fails_is_counted_as_that_for_its_pattern(world: World) -> None:
    kv = world.client()
    with pytest.raises(VersionConflict):
        await kv.compare_and_delete("k", expected=Version(1))
    gateway: Any = world.a.gateway
    tallies = gateway.tallies
    assert tallies["compare_and_delete"].failed == {VersionConflict: 1}
    assert sum(tallies["compare_and_delete"].counts) == 1
    assert sum(tallies["delete"].counts) == 0


async def test_an_operation_that_fails_is_told_with_its_status(world: World) -> None:
    (outcome,) = await _operate(world, pb.Operation(id=1, get=pb.GetRequest(key="")))
    assert error_of(outcome.error).reason == "INVALID_ARGUMENT"
    assert world.servicer.kinds["get"].tally.failed == {
        grpc.StatusCode.INVALID_ARGUMENT.value[0]: 1
    }
