"""Memory and pauses of memstore with a million keys: `python -m benchmarks.million_keys FIGURE`.

A pause is the longest processor time of this thread without an iteration of the event loop,
so that a busy machine does not count.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from prism.adapters.memstore import Memstore, MemstoreSettings

KEYS = 1_000_000
VALUE_BYTES = 32


async def filled(ttl: timedelta | None = None) -> tuple[Memstore, float]:
    """Return a store with a million random keys, and the duration of the longest set in ms."""
    store = Memstore()
    await store.initialize(MemstoreSettings())
    source = random.Random(1)  # noqa: S311
    longest_s = 0.0
    for number in range(KEYS):
        key = f"user:{source.randrange(10**15):015d}"
        value = number.to_bytes(VALUE_BYTES, "big")
        begun_s = time.thread_time()
        await store.set(key, value, ttl=ttl)
        longest_s = max(longest_s, time.thread_time() - begun_s)
    return store, longest_s * 1000


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def bytes_per_key() -> float:
    """Return the bytes per key, including the 20 of the key and the 32 of the value."""
    gc.collect()
    before = resident_bytes()
    store, _ = await filled()
    grown = resident_bytes() - before
    await store.stop()
    return grown / KEYS


async def pause_ms() -> float:
    """Return the longest pause while the store grows and while garbage is collected, in ms."""
    store, longest_ms = await filled()
    begun_s = time.thread_time()
    gc.collect()
    collected_ms = (time.thread_time() - begun_s) * 1000
    await store.stop()
    return max(longest_ms, collected_ms)


async def expiry_step_ms() -> float:
    """Return the longest step of the sweep that removes a million expired keys, in ms."""
    store, _ = await filled(ttl=timedelta(seconds=1))
    longest_s = 0.0
    last_s = time.thread_time()
    while (await store.health()).details["keys"] != "0":
        await asyncio.sleep(0)
        now_s = time.thread_time()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    await store.stop()
    return longest_s * 1000


FIGURES: dict[str, Callable[[], Awaitable[float]]] = {
    "bytes-per-key": bytes_per_key,
    "pause-ms": pause_ms,
    "expiry-step-ms": expiry_step_ms,
}


async def _main(figure: str) -> None:
    sys.stdout.write(f"{await FIGURES[figure]()}\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
