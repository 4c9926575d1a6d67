"""Load that changes every metric."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, NamedTuple

import grpc
import pytest

from prism.adapters.client import connect
from prism.ports import Exhausted, Put, VersionConflict
from prism.v1 import keyvalue_pb2 as pb

_BURST = 20
_SOON = timedelta(milliseconds=20)


class Done(NamedTuple):
    """Counts that Prometheus must report too.

    Attributes:
        sets: number of sets that reached the driver.
        shed: number of operations refused because too many were in flight.
        conflicts: number of version conflicts.
    """

    sets: int = 0
    shed: int = 0
    conflicts: int = 0

    def __add__(self, other: object) -> Done:
        assert isinstance(other, Done)
        return Done(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


async def do_work(address: str) -> Done:
    """Send calls and streams that succeed and that fail."""
    async with connect(address, retry=False) as kv:
        async with kv.watch("") as events:
            await kv.set("key", b"value")
            await anext(events)
        await kv.get("key")
        await kv.set("expiring", b"", ttl=_SOON)
        await kv.set_many([Put("a", b""), Put("b", b"")])
        await kv.get_many(["a", "b", "absent"])
        with pytest.raises(VersionConflict):
            await kv.compare_and_set("key", b"", expected=None)
        burst = [kv.set(f"key-{number}", b"") for number in range(_BURST)]
        ended = await asyncio.gather(*burst, return_exceptions=True)
    failed = [each for each in ended if isinstance(each, BaseException)]
    assert all(isinstance(each, Exhausted) for each in failed), failed
    shed = len(failed)
    assert _unary(address, "Set", pb.SetRequest(key="key", value=b"")) is None
    assert _unary(address, "Get", pb.GetRequest(key="")) is grpc.StatusCode.INVALID_ARGUMENT
    return Done(sets=3 + _BURST - shed, shed=shed, conflicts=1)


def send_refused(address: str) -> int:
    """Send operations that a drained server refuses, and return their number."""
    assert _unary(address, "Get", pb.GetRequest(key="key")) is grpc.StatusCode.UNAVAILABLE
    return 1


def _unary(address: str, method: str, request: Any) -> grpc.StatusCode | None:
    """Return the status of a failed call; None: success."""
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[Any, bytes] = channel.unary_unary(
            f"/prism.v1.KeyValueService/{method}",
            request_serializer=type(request).SerializeToString,
        )
        try:
            call(request, timeout=30)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return None
