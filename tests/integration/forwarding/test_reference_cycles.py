"""Requests leave no reference cycles, which only the garbage collector could free."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prism.adapters.client.pending_operations import PendingOperation
from prism.adapters.grpc.servicers.operate import Operation
from prism.adapters.grpc.servicers.relay import RelayedOperation
from tests.integration.forwarding.fakes import Proxy


@pytest.fixture
def in_cycles() -> Iterator[Callable[[], Counter[type]]]:
    """Count the objects of a request that the garbage collector finds."""

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


async def test_operation_through_a_proxy_is_in_no_reference_cycle(
    proxy: Proxy, in_cycles: Any
) -> None:
    kv = proxy.client()
    await asyncio.gather(*(kv.set("k", bytes(n)) for n in range(20)))
    await asyncio.gather(*(kv.get(f"k{n}") for n in range(20)))
    await asyncio.gather(kv.get_many(["k", "k2"]), kv.scan(), kv.delete("k"))
    assert not in_cycles()
