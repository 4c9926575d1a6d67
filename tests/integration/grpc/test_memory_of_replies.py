"""Large replies that are refused or not read are freed without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.attacks.calls import GET, GET_BIG, OPERATE
from tests.attack.peer import Peer, message

_VALUE = bytes(1 << 20)
_COPY_BYTES = len(_VALUE) // 2


@pytest.fixture
def copies_in_cycles() -> Iterator[Callable[[], int]]:
    """Count the copies of large values that the garbage collector finds."""

    def count() -> int:
        gc.collect()
        referred = [each for found in gc.garbage for each in gc.get_referents(found)]
        return sum(map(_is_copy, [*gc.garbage, *referred]))

    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield count
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()


def _is_copy(found: object) -> bool:
    if found is _VALUE:
        return False
    if isinstance(found, Message):
        return found.ByteSize() >= _COPY_BYTES
    return isinstance(found, bytes | bytearray) and len(found) >= _COPY_BYTES


async def test_replies_of_broken_operation_streams_are_freed_at_once(
    serve: Any, copies_in_cycles: Any
) -> None:
    served = await serve()
    await served.driver.set("big", _VALUE)
    gets = [pb.Operation(id=number, get=pb.GetRequest(key="big")) for number in range(1, 9)]
    request = message(pb.OperateRequest(operations=gets).SerializeToString())
    unread = served.admission.unread
    async with Peer.connect(_port(served), window=0, reads=False) as peer:
        for _ in range(16):
            await peer.send(peer.call(OPERATE), request)
        async with asyncio.timeout(30):
            while not unread.refused:
                await asyncio.sleep(0.01)
    await _until_freed(served)
    assert copies_in_cycles() == 0


async def test_unary_replies_of_a_lost_connection_are_freed_at_once(
    serve: Any, copies_in_cycles: Any
) -> None:
    served = await serve()
    await served.driver.set("big", _VALUE)
    async with Peer.connect(_port(served), window=0, reads=False) as peer:
        for _ in range(40):
            peer.call(GET, GET_BIG)
        await peer.drain()
        async with asyncio.timeout(30):
            while not served.unread.used:
                await asyncio.sleep(0.01)
        peer.abort()
    await _until_freed(served)
    assert copies_in_cycles() == 0


async def _until_freed(served: Any) -> None:
    async with asyncio.timeout(30):
        while served.unread.used or served.admission.unread.used:
            await asyncio.sleep(0.01)


def _port(served: Any) -> int:
    return int(served.address.rpartition(":")[2])
