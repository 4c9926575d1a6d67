"""cashews: commands, a decorator, counters, and its lock."""

import asyncio
import sys

from cashews import cache


async def main() -> None:
    cache.setup(f"redis://127.0.0.1:{sys.argv[1]}", client_side=False)
    await cache.init()
    await cache.clear()
    assert await cache.set("a", {"b": 1}, expire=100)
    assert await cache.get("a") == {"b": 1}
    assert not await cache.set("a", 2, exist=False)
    assert 98 <= await cache.get_expire("a") <= 100
    assert await cache.incr("n") == 1
    assert await cache.incr("n") == 2
    await cache.set_many({"x": 1, "y": 2})
    assert await cache.get_many("x", "y", "z") == (1, 2, None)
    assert sorted([key async for key in cache.scan("[xy]*")]) == ["x", "y"]
    async with cache.lock("lock", expire=10):
        assert await cache.is_locked("lock")
    assert not await cache.is_locked("lock")
    calls = []

    @cache(ttl="1m", key="remembered:{number}")
    async def remembered(number: int) -> int:
        calls.append(number)
        return number

    assert await remembered(1) == await remembered(1) == 1
    assert calls == [1]
    assert await cache.delete("a")
    await cache.close()


asyncio.run(main())
