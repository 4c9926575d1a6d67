"""limits: fixed windows, synchronous and with asyncio."""

import asyncio
import sys

import limits
from limits import storage, strategies

LIMIT = limits.parse("3/hour")


def synchronous() -> None:
    counters = storage.storage_from_string(f"redis://127.0.0.1:{sys.argv[1]}")
    assert counters.check()
    limiter = strategies.FixedWindowRateLimiter(counters)
    limiter.clear(LIMIT, "one")
    assert [limiter.hit(LIMIT, "one") for _ in range(4)] == [True, True, True, False]
    assert limiter.get_window_stats(LIMIT, "one").remaining == 0


async def asynchronous() -> None:
    counters = storage.storage_from_string(
        f"async+redis://127.0.0.1:{sys.argv[1]}", implementation="redispy"
    )
    limiter = limits.aio.strategies.FixedWindowRateLimiter(counters)
    await limiter.clear(LIMIT, "two")
    assert [await limiter.hit(LIMIT, "two") for _ in range(4)] == [True, True, True, False]


synchronous()
asyncio.run(asynchronous())
