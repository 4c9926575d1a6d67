"""aiocache: `RedisCache`, its decorator, and its locks."""

import asyncio
import sys

from aiocache import Cache, cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock

OPTIONS = {"endpoint": "127.0.0.1", "port": int(sys.argv[1]), "namespace": "aiocache:"}


async def main() -> None:
    cache = Cache(Cache.REDIS, **OPTIONS)
    await cache.clear()
    assert await cache.set("a", "1", ttl=100)
    assert await cache.get("a") == "1"
    assert await cache.multi_set([("x", 1), ("y", 2)])
    assert await cache.multi_get(["x", "y", "z"]) == [1, 2, None]
    assert await cache.increment("n", 3) == 3
    assert await cache.expire("a", 50)
    assert await cache.exists("a")
    assert await cache.delete("a") == 1
    async with RedLock(cache, "lock", lease=10):
        pass
    async with OptimisticLock(cache, "x") as lock:
        await lock.cas("3")
    assert await cache.get("x") == "3"
    try:
        async with OptimisticLock(cache, "x") as lock:
            await cache.set("x", "4")
            await lock.cas("5")
    except OptimisticLockError:
        pass
    else:
        raise AssertionError("the value has changed, and cas has written it")
    calls = []

    @cached(ttl=60, cache=Cache.REDIS, key="cached", **OPTIONS)
    async def remembered() -> str:
        calls.append(1)
        return "value"

    assert await remembered() == await remembered() == "value"
    assert calls == [1]
    await cache.close()


asyncio.run(main())
