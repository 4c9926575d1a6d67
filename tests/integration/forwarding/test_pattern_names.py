"""Which pattern serves a call, and the errors for unknown names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

import prism
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.wire.status import error_of
from prism.ports import InvalidArgument, PreconditionFailed
from prism.testing.suite.operations import SAMPLES, SampleOperation
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.forwarding.fakes import OPERATE, Proxy

WAYS = pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])

Ask = Callable[[KeyValueClient], Awaitable[object]]


def _with_key(sample: SampleOperation) -> Ask:
    return lambda kv: sample.call(kv, "k")


ASKED = {sample.name: _with_key(sample) for sample in SAMPLES} | {
    "describe": lambda kv: kv.fetch_profile()
}


@WAYS
async def test_named_pattern_serves_a_call_and_the_default_serves_others(
    proxy: Proxy, streams: bool
) -> None:
    await proxy.client(streams=streams).set("k", b"in a")
    await proxy.client(streams=streams, pattern="b").set("k", b"in b")
    for pattern, value in ((proxy.a, b"in a"), (proxy.b, b"in b")):
        entry = await pattern.driver.get("k")
        assert entry.value == value
    assert (await proxy.client(streams=streams, pattern="a").get("k")).value == b"in a"  # type: ignore[union-attr]


@WAYS
@pytest.mark.parametrize("asked", ASKED)
async def test_every_method_refuses_an_unknown_pattern(
    proxy: Proxy, streams: bool, asked: str
) -> None:
    with pytest.raises(PreconditionFailed, match="'c'") as refusal:
        await ASKED[asked](proxy.client(streams=streams, pattern="c"))
    assert refusal.value.reason == "UNKNOWN_PATTERN"


@WAYS
@pytest.mark.parametrize("asked", ASKED)
async def test_server_without_patterns_refuses_every_name(
    proxy: Proxy, streams: bool, asked: str
) -> None:
    address = proxy.a.server.addresses[0]
    with pytest.raises(PreconditionFailed, match="'a'") as refusal:
        await ASKED[asked](proxy.client(address=address, streams=streams, pattern="a"))
    assert refusal.value.reason == "NO_PATTERNS"


async def test_connecting_to_a_pattern_of_a_server_without_patterns_fails(proxy: Proxy) -> None:
    with pytest.raises(PreconditionFailed) as refusal:
        async with prism.connect(proxy.a.server.addresses[0], pattern="a"):
            pass
    assert refusal.value.reason == "NO_PATTERNS"


async def test_client_connects_to_the_pattern_that_it_names(proxy: Proxy) -> None:
    async with prism.connect(proxy.address, pattern="b") as kv:
        await kv.set("k", b"v")
        assert await kv.lifecycle.state() == "running"
    assert await proxy.b.driver.exists("k")
    assert not await proxy.a.driver.exists("k")


async def test_name_that_no_header_can_carry_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidArgument, match="printable ASCII"):
        async with prism.connect("127.0.0.1:1", pattern="größer"):
            pass


async def test_operations_of_one_stream_go_to_the_patterns_that_they_name(proxy: Proxy) -> None:
    def put(identity: int, pattern: str) -> pb.Operation:
        request = pb.SetRequest(key="k", value=str(identity).encode())
        return pb.Operation(id=identity, pattern=pattern, set=request)

    channel: Any
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.stream_stream(OPERATE)(metadata=(("prism-pattern", "b"),))
        operations = [put(1, "a"), put(2, ""), put(3, "c"), put(4, "a")]
        await call.write(pb.OperateRequest(operations=operations).SerializeToString())
        await call.done_writing()
        outcomes = {}
        async for data in call:
            for outcome in pb.OperateResponse.FromString(data).outcomes:
                outcomes[outcome.id] = outcome
    assert sorted(outcomes) == [1, 2, 3, 4]
    assert error_of(outcomes[3].error).reason == "UNKNOWN_PATTERN"
    assert (await proxy.a.driver.get("k")).value == b"4"
    assert (await proxy.b.driver.get("k")).value == b"2"
