"""Callers of one NATS bucket: `python -m benchmarks.nats_callers CLIENT OPERATION URL SECONDS`.

CLIENT is `prism` for the driver as the gateway calls it, or `nats-py` for the library's own
key-value layer, on the driver's bucket and by its names, so that both ask for the same.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import nats

from benchmarks.wire import KEYS, VALUE
from prism.adapters.nats import DRIVER, NatsSettings
from prism.adapters.nats.encoding import encode_key

CALLERS = 64
BUCKET = "bench"


class Calls(NamedTuple):
    """What a client does with a key; what `get` answers has the value as an attribute."""

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str], Awaitable[Any]]


@asynccontextmanager
async def _prism(url: str) -> AsyncIterator[Calls]:
    driver: Any = DRIVER.factory()
    # In memory, so that no disk is measured.
    await driver.initialize(NatsSettings(url=url, bucket=BUCKET, storage="memory"))
    try:
        yield Calls(driver.get, lambda key: driver.set(key, VALUE))
    finally:
        await driver.stop()


@asynccontextmanager
async def _nats_py(url: str) -> AsyncIterator[Calls]:
    # Whichever comes first, the bucket is as the driver makes it, with direct gets.
    async with _prism(url), await nats.connect(url) as client:
        bucket = await client.jetstream().key_value(BUCKET)
        yield Calls(
            lambda key: bucket.get(encode_key(key)), lambda key: bucket.put(encode_key(key), VALUE)
        )


CLIENTS = {"prism": _prism, "nats-py": _nats_py}


async def rate(client: str, operation: str, url: str, seconds: float) -> float:
    """Calls a second, after every value was read back right."""
    async with CLIENTS[client](url) as calls:
        for key in KEYS:
            await calls.set(key)
            if (await calls.get(key)).value != VALUE:
                raise SystemExit(f"{client} does not answer {key} as it was set")
        call = {"get": calls.get, "set": calls.set}[operation]
        called = 0

        async def caller(number: int) -> None:
            nonlocal called
            while time.perf_counter() < end_s:
                await call(KEYS[number % len(KEYS)])
                called += 1
                number += 1

        start_s = time.perf_counter()
        end_s = start_s + seconds
        await asyncio.gather(*(caller(first) for first in range(CALLERS)))
        return called / (time.perf_counter() - start_s)


if __name__ == "__main__":
    client, operation, url, seconds = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(rate(client, operation, url, float(seconds)))}\n")
