"""Clients of one NATS bucket, as sides and as a program that measures one of them.

`python -m benchmarks.nats CLIENT OPERATION URL SECONDS`: CLIENT is `prism` for the driver as
the gateway calls it, or `nats-py` for the library's key-value layer on the driver's bucket and
with its key names, so that both send the same requests.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import nats

from benchmarks.h2load import KEYS, VALUE
from benchmarks.processes import run_module
from benchmarks.sides import Measure, MeasurementContext
from prism.adapters.nats import DRIVER, NatsSettings
from prism.adapters.nats.encoding import encode_key
from tests.servers.nats import NatsServer

CALLERS = 64
BUCKET = "bench"


class Calls(NamedTuple):
    """Calls of a client: `get` returns an object with a `value`, `set` writes `VALUE`."""

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
    # The driver creates the bucket, with direct gets, whichever client comes first.
    async with _prism(url), await nats.connect(url) as client:
        bucket = await client.jetstream().key_value(BUCKET)
        yield Calls(
            lambda key: bucket.get(encode_key(key)), lambda key: bucket.put(encode_key(key), VALUE)
        )


CLIENTS = {"prism": _prism, "nats-py": _nats_py}


async def rate(client: str, operation: str, url: str, seconds: float) -> float:
    """Return calls per second, after every value was verified."""
    async with CLIENTS[client](url) as calls:
        for key in KEYS:
            await calls.set(key)
            if (await calls.get(key)).value != VALUE:
                raise SystemExit(f"{client} did not return for {key} what was set")
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


@dataclass(frozen=True, slots=True)
class NatsClient:
    """A Python client of NATS with 64 callers, alone on its core: calls per second.

    Attributes:
        client: name in `CLIENTS`.
        operation: `get` or `set`.
        configuration: how the client is configured, for readers of the report.
    """

    client: str
    operation: str
    configuration: str

    @property
    def name(self) -> str:
        return f"{self.client}, {self.operation}"

    @property
    def settings(self) -> str:
        return (
            f"{self.configuration}, default loop; a bucket in memory with direct gets, "
            "nats-server on the core of the load"
        )

    def open(self, context: MeasurementContext) -> Measure:
        url = context.backend(NatsServer)
        return lambda seconds: run_module(
            "benchmarks.nats",
            *(self.client, self.operation, url, str(seconds)),
            core=context.cores.server,
        )


if __name__ == "__main__":
    client, operation, url, seconds = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(rate(client, operation, url, float(seconds)))}\n")
