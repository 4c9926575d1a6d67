"""Drivers under load that are killed: `python writes_until_killed.py FILE ROUNDS`.

Each round is a process, forked from this one so that it starts quickly, in which many callers
write to the file through the driver. It is killed with SIGKILL at a random moment. Every write
that was acknowledged is then looked up with plain SQL. Prints one line of JSON with the counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from prism.adapters.sqlite import Sqlite, SqliteSettings
from prism.ports import Condition, Presence, Put

CALLERS = 16
MAX_SECONDS = 0.15
SIDES = ("left", "right")


async def write_forever(path: Path, acknowledged: int, number: int) -> None:
    """Write keys of this round; report each acknowledged one to the pipe."""
    driver = Sqlite()
    await driver.initialize(SqliteSettings(path=path))
    await driver.start()

    async def call(caller: int) -> None:
        write = 0
        while True:
            key = f"{number}/{caller}/{write}"
            if caller == 0:
                await driver.increment("counter")
                os.write(acknowledged, b"counter\n")
            elif caller == 1:
                await driver.set_many([Put(f"{key}/{n}", key.encode()) for n in range(5)])
                os.write(acknowledged, b"".join(b"%s/%d\n" % (key.encode(), n) for n in range(5)))
            elif caller < 5:
                await driver.apply(
                    [Condition(f"{key}/left", Presence.ABSENT)],
                    [Put(f"{key}/{side}", key.encode()) for side in SIDES],
                )
                os.write(acknowledged, b"".join(f"{key}/{side}\n".encode() for side in SIDES))
            else:
                await driver.set(key, key.encode())
                os.write(acknowledged, key.encode() + b"\n")
            write += 1

    await asyncio.gather(*map(call, range(CALLERS)))


def killed_round(path: Path, number: int, source: random.Random) -> list[str]:
    """Run one process, kill it, and return what it had acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            asyncio.run(write_forever(path, writing, number))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        # The first line says that the driver is open and writes.
        first = pipe.readline()
        signal.setitimer(signal.ITIMER_REAL, source.uniform(0.001, MAX_SECONDS))
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        # A line without an end was not written whole.
        lines = [first, *(line for line in pipe if line.endswith("\n"))]
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"round {number} ended by itself: {lines[:3]}"
    return [line.rstrip("\n") for line in lines]


def check(path: Path, acknowledged: list[str]) -> None:
    """Fail unless the file is intact and has every acknowledged write."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        there = dict(connection.execute("SELECT key, value FROM kv"))
    counted = acknowledged.count("counter")
    assert int(there.get("counter", b"0")) >= counted, (there.get("counter"), counted)
    lost = [key for key in acknowledged if key != "counter" and key not in there]
    left, right = ({key.rpartition("/")[0] for key in there if key.endswith(s)} for s in SIDES)
    assert left == right, f"transactions are there by half: {sorted(left ^ right)[:3]}"
    assert not lost, f"{len(lost)} acknowledged writes are lost, such as {lost[:3]}"


def main(path: Path, rounds: int) -> None:
    """Kill this many processes, and print how many writes they had acknowledged."""
    source = random.Random()
    acknowledged: list[str] = []
    for number in range(rounds):
        acknowledged += killed_round(path, number, source)
        if number % 10 == 9:
            check(path, acknowledged)
    check(path, acknowledged)
    sys.stdout.write(json.dumps({"kills": rounds, "acknowledged": len(acknowledged)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
