import subprocess
import sys

import pytest

SCRIPT = """
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
    part = next(iter(next(iter(memstore._store._wheel._near._slots.values())).values()))
    tracked = [gc.is_tracked(d) for d in (shard.values, shard.stamps, leaf, part)]
    # Processor time: what else the machine does meanwhile proves nothing.
    began, turns = time.process_time(), 0
    while int((await memstore.health()).details["keys"]):
        await asyncio.sleep(0)
        turns += 1
    print(time.process_time() - began < 3.0, turns > 200, any(tracked))
    await memstore.stop()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_million_expired_keys_are_gone_in_time_and_in_slices() -> None:
    """In a process of its own, whose memory goes with it. The writes never let the
    sweep in, so that it has all of them to do at once."""
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    in_time, sliced, seen_by_the_collector = run.stdout.split()
    assert in_time == "True"
    assert sliced == "True"
    assert seen_by_the_collector == "False"
