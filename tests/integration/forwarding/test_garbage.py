"""What a request leaves behind is freed at once, and not when a collector comes by."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prism.adapters.client.operation_stream import PendingOperation
from prism.adapters.grpc.servicers.operate import Operation
from prism.adapters.grpc.servicers.relay import RelayedOperation
from tests.integration.forwarding.world import World


@pytest.fixture
def in_circles() -> Iterator[Callable[[], Counter[type]]]:
    """What of ours a collector finds."""

    def find() -> Counter[type]:
        gc.collect()
        return Counter(
            type(each)
            for each in gc.garbage
            if isinstance(each, (Operation, RelayedOperation, PendingOperation))
        )

    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield find
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


async def test_an_operation_through_a_proxy_is_in_no_circle(world: World, in_circles: Any) -> None:
    kv = world.client()
    await asyncio.gather(*(kv.set("k", bytes(n)) for n in range(20)))
    await asyncio.gather(*(kv.get(f"k{n}") for n in range(20)))
    await asyncio.gather(kv.get_many(["k", "k2"]), kv.scan(), kv.delete("k"))
    assert not in_circles()
