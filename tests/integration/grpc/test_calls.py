"""Deadlines, limits and errors of calls of every kind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from prism.adapters.wire.status import error_of
from prism.ports import Exhausted, Internal, InvalidArgument, NotServing, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb
from prism.v1 import lifecycle_pb2 as lpb

GET = "KeyValueService/Get"


def details(error: grpc.aio.AioRpcError) -> PrismError:
    trailers = dict(error.trailing_metadata())
    return error_of(status_pb2.Status.FromString(trailers["grpc-status-details-bin"]))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("whose", ["the caller's", "the server's default"])
async def test_deadline_cancels_the_call_in_the_driver(serve: Any, whose: str) -> None:
    callers = whose == "the caller's"
    default = timedelta(seconds=30) if callers else timedelta(milliseconds=200)
    served = await serve(default_timeout=default)
    loop = asyncio.get_running_loop()
    began = loop.time()
    # On a busy machine the call may not arrive within its deadline.
    while not served.driver.cancelled_at:
        error = await refused(
            served.call(GET, pb.GetRequest(key="slow"), timeout=0.2 if callers else None)
        )
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: not served.admission.in_flight)
    assert 0.19 < served.driver.cancelled_at[0] - began < 20


async def test_call_cancelled_by_its_caller_is_cancelled_in_the_driver(serve: Any) -> None:
    served = await serve()
    call = asyncio.create_task(served.call(GET, pb.GetRequest(key="slow")))
    await served.driver.entered.wait()
    call.cancel()
    await until(lambda: not served.admission.in_flight)
    assert len(served.driver.cancelled_at) == 1


async def test_unexpected_error_is_logged_in_full_and_hidden_from_the_caller(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    served = await serve()
    with caplog.at_level(logging.ERROR):
        error = await refused(served.call(GET, pb.GetRequest(key="broken")))
    assert error.code() is grpc.StatusCode.INTERNAL
    shown = details(error)
    assert isinstance(shown, Internal)
    assert shown.outcome is Outcome.UNKNOWN
    assert "hunter2" not in str(error) + shown.message
    assert "hunter2" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("payload", [b"\x0a\x02\xff\xfe", b"\x0a\x7f", b"\xff"])
async def test_malformed_message_is_an_invalid_argument(serve: Any, payload: bytes) -> None:
    served = await serve()
    error = await refused(served.call(GET, payload))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(details(error), InvalidArgument)
    assert "prism.v1.GetRequest" in str(error.details())


async def test_two_conditions_on_one_set_are_refused(serve: Any) -> None:
    served = await serve()
    request = pb.SetRequest(key="k", value=b"", if_absent=True, if_version=1)
    error = await refused(served.call("KeyValueService/Set", request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await served.driver.get("k") is None


@pytest.mark.parametrize(
    "request_",
    [
        pb.BatchSetRequest(keys=["a", "b"], values=[b"1"]),
        pb.BatchSetRequest(keys=["a"], values=[b"1", b"2"]),
        pb.BatchSetRequest(keys=["a", "b"], values=[b"1", b"2"], ttl_ms=[1]),
    ],
)
async def test_columns_of_different_length_change_nothing(
    serve: Any, request_: pb.BatchSetRequest
) -> None:
    served = await serve()
    error = await refused(served.call("KeyValueService/BatchSet", request_))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await served.driver.get("a") is None


async def test_expire_without_a_ttl_is_refused(serve: Any) -> None:
    served = await serve()
    error = await refused(served.call("KeyValueService/Expire", pb.ExpireRequest(key="k")))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("bound", ["max_in_flight", "max_per_connection"])
async def test_call_over_a_limit_is_refused_at_once_and_health_checks_are_not(
    serve: Any, bound: str
) -> None:
    served = await serve({bound: 1})
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        get = channel.unary_unary(f"/prism.v1.{GET}")
        slow = get(pb.GetRequest(key="slow").SerializeToString())
        await served.driver.entered.wait()
        error = await refused(get(pb.GetRequest(key="k").SerializeToString(), timeout=5))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(details(error), Exhausted)
        await channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=5)
        check = channel.unary_unary("/prism.v1.LifecycleService/HealthCheck")
        await check(b"", timeout=5)
        if bound == "max_per_connection":
            await served.call(GET, pb.GetRequest(key="k"))
        served.driver.release.set()
        await slow


async def test_message_over_the_limit_is_refused(serve: Any) -> None:
    served = await serve(max_message_bytes=10_000)
    request = pb.SetRequest(key="k", value=b"x" * 10_000)
    error = await refused(served.call("KeyValueService/Set", request))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await served.driver.get("k") is None


async def test_reply_over_the_limit_is_refused(serve: Any) -> None:
    served = await serve(max_message_bytes=10_000)
    await served.driver.set("k", b"x" * 10_000)
    error = await refused(served.call(GET, pb.GetRequest(key="k")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "the limit is 10,000" in str(error.details())


async def test_drain_finishes_calls_in_flight_and_refuses_later_ones(serve: Any) -> None:
    served = await serve()
    slow = asyncio.create_task(served.call(GET, pb.GetRequest(key="slow")))
    await served.driver.entered.wait()
    drain = asyncio.create_task(served.call("LifecycleService/Drain", lpb.DrainRequest()))
    await until(lambda: not served.readiness.current.ready)
    error = await refused(served.call(GET, pb.GetRequest(key="k")))
    assert isinstance(details(error), NotServing)
    served.driver.release.set()
    await slow
    report = lpb.DrainResponse.FromString(await drain)
    assert (report.completed, report.aborted) == (1, 0)
    assert report.state == lpb.LIFECYCLE_STATE_DRAINING
