"""Clients of one Redis server, as sides and as a program that measures one of them.

`python -m benchmarks.redis CLIENT LOAD URL SECONDS`: CLIENT is `prism` for the driver as the
gateway calls it, or `redis-py`, which sends the same commands: a get reads the expiry before
and after the value, a set is a script.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from redis.asyncio import Redis

from benchmarks.h2load import KEYS, VALUE, Load
from benchmarks.processes import ServerCommand, run_module
from benchmarks.sides import Measure, MeasurementContext, UnderH2load
from prism.adapters.redis import DRIVER, RedisSettings
from prism.adapters.redis.operations import SET_SCRIPT
from prism.ports import Put
from tests.servers.redis import RedisServer

POOL = 64
BATCH = 100


class Calls(NamedTuple):
    """Calls of a client; `set` and `set_many` write `VALUE`.

    Attributes:
        values_of: resequence the values from the result of `get_many`.
    """

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str], Awaitable[Any]]
    get_many: Callable[[Sequence[str]], Awaitable[Any]]
    set_many: Callable[[Sequence[str]], Awaitable[Any]]
    values_of: Callable[[Any], list[bytes]]


@asynccontextmanager
async def _prism(url: str) -> AsyncIterator[Calls]:
    driver: Any = DRIVER.factory()
    await driver.initialize(RedisSettings(url=url))
    try:
        yield Calls(
            driver.get,
            lambda key: driver.set(key, VALUE),
            driver.get_many,
            lambda keys: driver.set_many([Put(key, VALUE) for key in keys]),
            lambda entries: [entry.value for entry in entries],
        )
    finally:
        await driver.stop()


@asynccontextmanager
async def _redis_py(url: str) -> AsyncIterator[Calls]:
    async with Redis.from_url(url, max_connections=POOL) as client:
        await client.script_load(SET_SCRIPT.text)

        async def get_many(keys: Sequence[str]) -> Any:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                name = f"prism:{key}"
                pipeline.pexpiretime(name)
                pipeline.get(name)
                pipeline.pexpiretime(name)
            return await pipeline.execute()

        async def set_many(keys: Sequence[str]) -> Any:
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.evalsha(SET_SCRIPT.digest, 1, f"prism:{key}", VALUE)
            return await pipeline.execute()

        yield Calls(
            lambda key: get_many((key,)),
            lambda key: client.evalsha(SET_SCRIPT.digest, 1, f"prism:{key}", VALUE),
            get_many,
            set_many,
            lambda replies: replies[1::3],
        )


CLIENTS = {"prism": _prism, "redis-py": _redis_py}


class CallerLoad(NamedTuple):
    """Concurrent callers, each of which repeats a sequence of calls.

    Attributes:
        callers: number of callers.
        items: number of keys of each call.
        calls_of: resequence the sequence of calls for a client; each takes a number.
    """

    callers: int
    items: int
    calls_of: Callable[[Calls], Sequence[Callable[[int], Awaitable[Any]]]]


def _key(number: int) -> str:
    return KEYS[number % len(KEYS)]


LOADS = {
    "get": CallerLoad(POOL, 1, lambda calls: [lambda number: calls.get(_key(number))]),
    "get-and-set": CallerLoad(
        POOL,
        1,
        lambda calls: [
            lambda number: calls.get(_key(number)),
            lambda number: calls.set(_key(number)),
        ],
    ),
    "batch": CallerLoad(
        1,
        BATCH,
        lambda calls: [
            lambda _: calls.get_many(KEYS[:BATCH]),
            lambda _: calls.set_many(KEYS[:BATCH]),
        ],
    ),
}


async def rate(client: str, load: str, url: str, seconds: float) -> float:
    """Return keys per second, after every value was verified."""
    chosen = LOADS[load]
    async with CLIENTS[client](url) as calls:
        await calls.set_many(KEYS)
        if calls.values_of(await calls.get_many(KEYS)) != [VALUE] * len(KEYS):
            raise SystemExit(f"{client} did not return what was set")
        sequence = chosen.calls_of(calls)
        called = 0

        async def caller(number: int) -> None:
            nonlocal called
            while time.perf_counter() < end_s:
                await sequence[number % len(sequence)](number)
                called += 1
                number += 1

        start_s = time.perf_counter()
        end_s = start_s + seconds
        await asyncio.gather(*(caller(first) for first in range(chosen.callers)))
        return called * chosen.items / (time.perf_counter() - start_s)


_SERVER = "a redis-server that writes nothing to disk, on the core of the load"


def volatile_redis() -> RedisServer:
    """Return a server that writes nothing to disk, so that no disk is measured."""
    return RedisServer({"appendonly": "no", "notify-keyspace-events": ""})


@dataclass(frozen=True, slots=True)
class RedisClient:
    """A Python client of Redis, alone on its core: keys per second.

    Attributes:
        client: name in `CLIENTS`.
        load: name in `LOADS`.
        configuration: how the client is configured, for readers of the report.
    """

    client: str
    load: str
    configuration: str

    @property
    def name(self) -> str:
        return f"{self.client}, {self.load}"

    @property
    def settings(self) -> str:
        return f"{self.configuration}, default loop; {_SERVER}"

    def open(self, context: MeasurementContext) -> Measure:
        url = context.backend(volatile_redis)
        return lambda seconds: run_module(
            "benchmarks.redis",
            *(self.client, self.load, url, str(seconds)),
            core=context.cores.server,
        )


@dataclass(frozen=True, slots=True)
class RedisGateway:
    """A Prism server with the Redis driver under h2load: items per second."""

    server: ServerCommand
    load: Load

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; h2load: {self.load}; {_SERVER}"

    def open(self, context: MeasurementContext) -> Measure:
        url = ("--redis-url", context.backend(volatile_redis))
        server = replace(self.server, arguments=(*self.server.arguments, *url))
        return UnderH2load(server, self.load).open(context)


if __name__ == "__main__":
    client, load, url, seconds = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(rate(client, load, url, float(seconds)))}\n")
