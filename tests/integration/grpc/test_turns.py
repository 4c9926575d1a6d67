"""Calls of every kind wait while a turn of the event loop has no time left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from prism.adapters.grpc.transports.options import ServerOptions
from prism.domain.turns import Turns
from prism.v1 import keyvalue_pb2 as pb
from tests.attack.peer import Peer
from tests.integration.grpc.conftest import Serve, serving


class OverTurns:
    """Turns without time, in which all work waits; counts what has waited."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waited = 0
        wait = Turns.wait

        async def count(turns: Turns, connection: str) -> None:
            assert connection
            self.waited += 1
            await wait(turns, connection)

        monkeypatch.setattr(Turns, "has_time", lambda _: False)
        monkeypatch.setattr(Turns, "wait", count)


async def test_unary_calls_wait_for_their_turn(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    over = OverTurns(monkeypatch)
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        get = channel.unary_unary("/prism.v1.KeyValueService/Get")
        # A call that is alone need not wait.
        slow = get(pb.GetRequest(key="slow").SerializeToString(), timeout=5)
        await served.driver.entered.wait()
        before = over.waited
        request = pb.GetRequest(key="k").SerializeToString()
        codes = await asyncio.gather(*(get(request, timeout=5).code() for _ in range(20)))
        assert over.waited - before == 20
        served.driver.release.set()
        codes.append(await slow.code())
    assert set(codes) == {grpc.StatusCode.OK}


async def test_streams_wait_for_their_turn(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await serve()
    over = OverTurns(monkeypatch)
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        operate = channel.stream_stream("/prism.v1.KeyValueService/Operate")(timeout=5)
        await operate.done_writing()
        assert await operate.code() == grpc.StatusCode.OK
    assert over.waited == 1


async def test_a_connection_over_tcp_has_few_enough_calls_for_grpcio_to_take_them_in_time() -> None:
    async with (
        serving("grpcio", ServerOptions(port=0)) as served,
        Peer.connect(int(served.address.rpartition(":")[2])) as peer,
    ):
        # Of a burst at the beginning, before the client knows the limit, the rest is reset.
        for _ in range(520):
            peer.call("/prism.v1.KeyValueService/Operate")
        assert await peer.wait_answered(8)
        peer.call("/prism.v1.KeyValueService/Operate")
        assert await peer.wait_answered(9)
        assert peer.resets == 9


async def test_a_socket_carries_the_watches_of_all_callers_of_a_proxy(tmp_path: Path) -> None:
    options = ServerOptions(socket=tmp_path / "s")
    channel: Any
    async with (
        serving("grpcio", options) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        watch = channel.stream_stream("/grpc.health.v1.Health/Watch")
        watches = [watch(iter([b""])) for _ in range(600)]
        async with asyncio.timeout(20):
            await asyncio.gather(*(each.read() for each in watches))
        for each in watches:
            each.cancel()
