"""A million keys, in a process of its own for each test, so that its memory is released.

The tests limit processor time, because elapsed time depends on the load of the machine.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.environment import environment_without_coverage

pytestmark = pytest.mark.slow


def output_of(script: str) -> list[str]:
    """Run a script without coverage, which would double its time; return what it prints."""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=environment_without_coverage(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


EXPIRE = """
import asyncio, gc, time
from datetime import timedelta
from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.ports import Put

async def main():
    memstore = Memstore()
    await memstore.initialize(MemstoreSettings())
    await memstore.start()
    ttl = timedelta(seconds=1)
    for start in range(0, 1_000_000, 1000):
        keys = (f"{i:020}" for i in range(start, start + 1000))
        await memstore.set_many([Put(key, b"v" * 32, ttl) for key in keys])
    shard = memstore._store._shards[0]
    leaf = memstore._store.index._leaves[0]
    wheel = memstore._store._wheel
    part = next(iter(next(iter((wheel._near._slots or wheel._far._slots).values())).values()))
    tracked = [gc.is_tracked(d) for d in (shard.values, shard.stamps, leaf, part)]
    began, turns = time.process_time(), 0
    while int((await memstore.health()).details["keys"]):
        await asyncio.sleep(0)
        turns += 1
    print(time.process_time() - began < 3.0, turns > 200, any(tracked))
    await memstore.stop()

asyncio.run(main())
"""


def test_a_million_expired_keys_are_dropped_in_time_and_in_slices() -> None:
    """The writes do not yield to the event loop, so the sweep has to drop all keys at once."""
    in_time, sliced, seen_by_the_collector = output_of(EXPIRE)
    assert in_time == "True"
    assert sliced == "True"
    # From Python 3.14 on, the collector sees every dictionary.
    assert seen_by_the_collector == str(sys.version_info >= (3, 14))


WATCH = """
import asyncio, time
from datetime import timedelta
from prism.adapters.memstore import DRIVER, Memstore, MemstoreSettings
from prism.ports import Capability

async def main():
    now = 1000.0
    memstore = Memstore(clock=lambda: now)
    await memstore.initialize(MemstoreSettings())
    for number in range(1_000_000):
        await memstore.set(f"{number}", b"", ttl=timedelta(seconds=1))
    async with memstore.watch() as events:
        now += 2
        began = time.process_time()
        for _ in range(1_000_000):
            await anext(events)
        delay = DRIVER.capabilities[Capability.WATCH].event_delay
        print(timedelta(seconds=time.process_time() - began) < delay)
    await memstore.stop()

asyncio.run(main())
"""


def test_a_million_keys_that_expire_at_once_are_reported_in_time() -> None:
    assert output_of(WATCH) == ["True"]
