"""Operations of the client, through a stream and by unary calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest

import prism
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.patience import answer_to


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_all_operations_go_through_one_stream(serve: Any) -> None:
    served = await serve()
    await asyncio.gather(*(served.kv.set(f"k{n}", b"%d" % n) for n in range(300)))
    entries = await asyncio.gather(*(served.kv.get(f"k{n}") for n in range(300)))
    assert [entry.value for entry in entries] == [b"%d" % n for n in range(300)]
    assert served.streams == 1
    assert served.channel.streams


async def test_slow_operation_delays_no_other(serve: Any) -> None:
    served = await serve()
    slow = asyncio.create_task(served.kv.get("slow"))
    await until(lambda: served.driver.waiting == 1)
    await served.kv.set("k", b"v")
    assert (await served.kv.get("k")).value == b"v"
    served.driver.release.set()
    assert await slow is None


async def test_deadline_applies_on_both_sides(serve: Any) -> None:
    served = await serve(timeout=timedelta(milliseconds=200))
    with pytest.raises(BackendTimeout) as late:
        await served.kv.get("slow")
    assert late.value.outcome is Outcome.UNKNOWN
    await until(lambda: not served.driver.waiting)
    assert await answer_to(lambda: served.kv.exists("slow")) is False
    assert served.streams == 1


async def test_value_near_the_limit_is_sent_by_a_unary_call(serve: Any) -> None:
    served = await serve()
    value = bytes(1 << 20)
    await asyncio.gather(*(served.kv.set(f"k{n}", value) for n in range(6)))
    assert served.streams == 0
    entries = await asyncio.gather(*(served.kv.get(f"k{n}") for n in range(6)))
    assert [entry.value for entry in entries] == [value] * 6
    assert served.streams == 1


async def test_server_without_streams_is_called_by_unary_calls(serve: Any) -> None:
    served = await serve(operate=False)
    first = [served.kv.set(f"k{n}", b"%d" % n) for n in range(20)]
    await asyncio.gather(*first)
    assert not served.channel.streams
    entries = await asyncio.gather(*(served.kv.get(f"k{n}") for n in range(20)))
    assert [entry.value for entry in entries] == [b"%d" % n for n in range(20)]
    counts = await asyncio.gather(*(served.kv.increment("n") for _ in range(20)))
    assert sorted(count.value for count in counts) == list(range(1, 21))


@pytest.mark.parametrize("operate", [True, False], ids=["stream", "unary"])
async def test_cancelled_callers_never_get_the_reply_of_another(serve: Any, operate: bool) -> None:
    served = await serve(operate=operate, timeout=timedelta(minutes=2))
    many = 10_000 if operate else 500
    keys = [f"k{n}" for n in range(100)]
    for key in keys:
        await served.kv.set(key, key.encode())
    before = asyncio.all_tasks()
    chance = random.Random(3)

    async def read(key: str) -> bool:
        entry = await served.kv.get(key)
        return bool(entry is not None and entry.value == key.encode())

    async def give_up(key: str, turns: int) -> bool:
        task = asyncio.create_task(read(key))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return True

    running = []
    for number in range(many):
        key = chance.choice(keys)
        gives_up = number % 10 == 0
        running.append(
            asyncio.create_task(give_up(key, chance.randrange(40)) if gives_up else read(key))
        )
        if chance.random() < 0.02:
            await asyncio.sleep(0)
    assert all(await asyncio.gather(*running))
    await until(lambda: not served.admission.in_flight)
    if operate:
        await until(lambda: asyncio.all_tasks() <= before)


async def test_cancelled_caller_frees_the_server(serve: Any) -> None:
    served = await serve()
    tasks = [asyncio.create_task(served.kv.get(f"slow{n}")) for n in range(5)]
    await until(lambda: served.driver.waiting == 5)
    for task in tasks[1:]:
        task.cancel()
    await until(lambda: served.driver.waiting == 1)
    assert served.admission.in_flight == 1
    served.driver.release.set()
    assert await tasks[0] is None


async def test_drain_loses_no_operation_and_refuses_later_ones(serve: Any) -> None:
    served = await serve()
    slow = asyncio.create_task(served.kv.get("slow"))
    await until(lambda: served.driver.waiting == 1)
    drain = asyncio.create_task(served.lifecycle.drain())
    await until(lambda: bool(served.lifecycle.current == "draining"))
    with pytest.raises(NotServing):
        await served.kv.set("k", b"v")
    served.driver.release.set()
    assert await slow is None
    assert (await drain).completed == 1
    for _ in range(20):
        with pytest.raises(NotServing) as refusal:
            await served.kv.set("k", b"v")
        assert refusal.value.outcome is Outcome.NOT_APPLIED


async def test_open_stream_does_not_use_up_the_grace_period_of_a_stop(serve: Any) -> None:
    served = await serve()
    await served.kv.set("k", b"v")
    await served.lifecycle.drain()
    await served.lifecycle.stop()
    # Half of the grace period that an open stream would use up.
    async with asyncio.timeout(10):
        await served.server.stop()
    with pytest.raises((BackendUnavailable, NotServing)):
        await served.kv.get("k")


@pytest.mark.parametrize("operate", [True, False], ids=["stream", "unary"])
async def test_closing_the_client_fails_waiting_callers(serve: Any, operate: bool) -> None:
    served = await serve(operate=operate)
    await served.kv.set("k", b"v")
    slow = asyncio.create_task(served.kv.get("slow"))
    await until(lambda: served.driver.waiting == 1)
    await served.channel.close()
    with pytest.raises(BackendUnavailable) as failure:
        await slow
    assert failure.value.outcome is Outcome.UNKNOWN
    await until(lambda: not served.driver.waiting)
    with pytest.raises(NotServing):
        await served.kv.get("k")


async def test_caller_that_leaves_during_a_large_answer_leaves_no_work_behind(
    serve: Any,
) -> None:
    served = await serve()
    await asyncio.gather(*(served.kv.set(f"k{n}", bytes(1 << 20)) for n in range(3)))
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.stream_stream("/prism.v1.KeyValueService/Operate")()
        # The slow operation begins before the unread replies of the others hold it up.
        operations = [pb.Operation(id=99, get=pb.GetRequest(key="slow"))]
        operations += [pb.Operation(id=n, get=pb.GetRequest(key=f"k{n % 3}")) for n in range(60)]
        await call.write(pb.OperateRequest(operations=operations).SerializeToString())
        await until(lambda: served.driver.waiting == 1)
        call.cancel()
        await until(lambda: not served.driver.waiting and not served.admission.in_flight)
    assert (await served.kv.get("k0")).value == bytes(1 << 20)


async def _never_written(kv: prism.Client) -> PrismError:
    """Return the error of a write after the connection is known to be lost.

    Until then a write still goes into it, and its outcome is rightly unknown.
    """
    async with asyncio.timeout(30):
        while True:
            try:
                await kv.set("k", b"v")
            except BackendUnavailable as error:
                if error.outcome is Outcome.NOT_APPLIED:
                    return error


def test_writes_are_unknown_after_the_server_is_killed(
    start_server: Callable[..., Any], tmp_path: Any
) -> None:
    gate = tmp_path / "released"
    server = start_server("--driver", "slow", "--slow-released-by", str(gate)).serving()

    async def run() -> list[Any]:
        client = prism.connect(server.address, timeout=timedelta(seconds=20), retry=False)
        async with client as kv:
            await kv.set("k", b"v")
            # Of one key, so that the write waits in line at the server.
            waiting = [
                asyncio.create_task(kv.get("slow")),
                asyncio.create_task(kv.set("slow", b"v")),
            ]
            await asyncio.to_thread(server.wait_for, "in flight")
            server.process.kill()
            failures: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
            return [*failures, await _never_written(kv)]

    read, write, later = asyncio.run(run())
    assert isinstance(read, BackendUnavailable)
    assert isinstance(write, BackendUnavailable)
    assert write.outcome is Outcome.UNKNOWN
    assert isinstance(later, PrismError)
    assert later.outcome is Outcome.NOT_APPLIED
    server.stop = lambda: None


async def test_many_batches_of_short_keys_at_once_are_served(serve: Any) -> None:
    """Together they have more elements than a server accepts in one message."""
    served = await serve()
    await served.kv.set("k", b"v")
    batches = await asyncio.gather(*(served.kv.get_many(["k"] * 1000) for _ in range(100)))
    assert all(entry is not None and entry.value == b"v" for batch in batches for entry in batch)


@pytest.mark.parametrize("value", [None, "text", 5], ids=["nothing", "text", "a number"])
async def test_value_of_another_type_is_refused_in_words(serve: Any, value: Any) -> None:
    served = await serve()
    with pytest.raises(TypeError, match=r"give bytes|values bytes"):
        await served.kv.set("key", value)
    assert await served.driver.get("key") is None


async def test_number_instead_of_a_time_is_refused_in_words(serve: Any) -> None:
    served = await serve()
    seconds: Any = 5
    with pytest.raises(TypeError, match=r"times timedelta"):
        await served.kv.set("key", b"value", ttl=seconds)
    with pytest.raises(TypeError, match=r"timeout is 5: give a timedelta"):
        async with prism.connect(served.address, timeout=seconds):
            pass
    with pytest.raises(TypeError, match=r"wait_for_server is 5: give a timedelta"):
        async with prism.connect(served.address, wait_for_server=seconds):
            pass
