"""Callers of one Redis: `python -m benchmarks.redis_callers CLIENT LOAD URL SECONDS`.

CLIENT is `prism` for the driver as the gateway calls it, or `redis-py`, which is given the
same commands: a get reads the expiry before and after the value, a set is a script.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from redis.asyncio import Redis

from benchmarks.wire import KEYS, VALUE
from prism.adapters.redis import DRIVER, RedisSettings
from prism.adapters.redis.operations import SET_SCRIPT
from prism.ports import Put

POOL = 64
BATCH = 100


class Calls(NamedTuple):
    """What a client does with keys; `values_of` finds the values in what `get_many` answers."""

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


class Load(NamedTuple):
    """Callers, each of which does one after another of the calls that `of` picks.

    Attributes:
        items: keys in each call.
    """

    callers: int
    items: int
    of: Callable[[Calls], Sequence[Callable[[int], Awaitable[Any]]]]


def _key(number: int) -> str:
    return KEYS[number % len(KEYS)]


LOADS = {
    "get": Load(POOL, 1, lambda calls: [lambda number: calls.get(_key(number))]),
    "get-and-set": Load(
        POOL,
        1,
        lambda calls: [
            lambda number: calls.get(_key(number)),
            lambda number: calls.set(_key(number)),
        ],
    ),
    "batch": Load(
        1,
        BATCH,
        lambda calls: [
            lambda _: calls.get_many(KEYS[:BATCH]),
            lambda _: calls.set_many(KEYS[:BATCH]),
        ],
    ),
}


async def rate(client: str, load: str, url: str, seconds: float) -> float:
    """Keys a second, after every value was read back right."""
    chosen = LOADS[load]
    async with CLIENTS[client](url) as calls:
        await calls.set_many(KEYS)
        if calls.values_of(await calls.get_many(KEYS)) != [VALUE] * len(KEYS):
            raise SystemExit(f"{client} does not answer what was set")
        turns = chosen.of(calls)
        called = 0

        async def caller(number: int) -> None:
            nonlocal called
            while time.perf_counter() < end_s:
                await turns[number % len(turns)](number)
                called += 1
                number += 1

        start_s = time.perf_counter()
        end_s = start_s + seconds
        await asyncio.gather(*(caller(first) for first in range(chosen.callers)))
        return called * chosen.items / (time.perf_counter() - start_s)


if __name__ == "__main__":
    client, load, url, seconds = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(rate(client, load, url, float(seconds)))}\n")
