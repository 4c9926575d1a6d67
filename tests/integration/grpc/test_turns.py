"""Calls of every kind wait while a turn of the event loop has no time left."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from prism.domain.turns import Turns
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.grpc.conftest import Serve


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
