"""Stores in this process: `python -m benchmarks.stores STORE OPERATION SECONDS`.

The calls use random keys out of a thousand and follow one after another.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from benchmarks.h2load import KEYS, VALUE

_CALLS_PER_CHECK = 2_000


class Store(NamedTuple):
    """Calls of a store, as its users make them.

    Attributes:
        get: reads a key.
        set: writes `VALUE` to a key.
        value_of: returns the value from the result of `get`.
    """

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str], Awaitable[Any]]
    value_of: Callable[[Any], bytes]


async def memstore() -> Store:
    """Return our driver, as the gateway calls it."""
    from prism.adapters.memstore import Memstore, MemstoreSettings

    store = Memstore()
    await store.initialize(MemstoreSettings())
    return Store(store.get, lambda key: store.set(key, VALUE), lambda entry: entry.value)


async def py_key_value() -> Store:
    """Return the memory store of py-key-value, whose values are JSON: bytes become text."""
    from key_value.aio.stores.memory import MemoryStore

    store = MemoryStore()
    value = {"value": VALUE.decode("latin-1")}
    return Store(
        store.get,
        lambda key: store.put(key, value),
        lambda found: found["value"].encode("latin-1"),
    )


async def aiocache() -> Store:
    """Return aiocache without a serializer and without its timeout, which costs a task a call."""
    from aiocache import SimpleMemoryCache
    from aiocache.serializers import NullSerializer

    store = SimpleMemoryCache(serializer=NullSerializer(), timeout=None)
    return Store(store.get, lambda key: store.set(key, VALUE), lambda value: value)


STORES: dict[str, Callable[[], Coroutine[Any, Any, Store]]] = {
    "memstore": memstore,
    "py-key-value": py_key_value,
    "aiocache": aiocache,
}


async def rate(store: str, operation: str, seconds: float) -> float:
    """Return calls per second, after every value was verified."""
    chosen = await STORES[store]()
    for key in KEYS:
        await chosen.set(key)
    for key in KEYS:
        if chosen.value_of(await chosen.get(key)) != VALUE:
            raise SystemExit(f"{store} did not return for {key} what was set")
    call = {"get": chosen.get, "set": chosen.set}[operation]
    keys = random.Random(1).choices(KEYS, k=_CALLS_PER_CHECK)  # noqa: S311
    called = 0
    start_s = time.perf_counter()
    while (now_s := time.perf_counter()) < start_s + seconds:
        for key in keys:
            await call(key)
        called += _CALLS_PER_CHECK
    return called / (now_s - start_s)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(rate(sys.argv[1], sys.argv[2], float(sys.argv[3])))}\n")
