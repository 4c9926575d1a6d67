"""Two servers share one file: each sees at once what the other wrote, also in its watches."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import prism
from prism.ports import Change, Event, VersionConflict
from tests.integration.conftest import Server

INCREMENTS = 200
RACES = 30

pytestmark = pytest.mark.slow


async def test_two_servers_share_a_file(path: Path, serve: Callable[..., Server]) -> None:
    one, other = serve(), serve()
    async with (
        prism.connect(one.serving().address) as a,
        prism.connect(other.serving().address) as b,
    ):
        await asyncio.gather(*(kv.increment("n") for kv in (a, b) for _ in range(INCREMENTS)))
        assert (await a.increment("n", 0)).value == 2 * INCREMENTS

        for race in range(RACES):
            version = await a.set("raced", b"")
            outcomes = await asyncio.gather(
                *(
                    kv.compare_and_set("raced", f"{race}{name}".encode(), expected=version)
                    for name, kv in (("a", a), ("b", b))
                ),
                return_exceptions=True,
            )
            losers = [outcome for outcome in outcomes if isinstance(outcome, VersionConflict)]
            assert len(losers) == 1

        async with a.watch("k") as events, asyncio.timeout(30):
            written = [await kv.set("k", b"%d" % n) for n in range(20) for kv in (a, b)]
            assert [(await anext(events)).version for _ in written] == written
            with closing(sqlite3.connect(path, isolation_level=None)) as plain:
                plain.execute("DELETE FROM kv WHERE key = 'k'")
            assert await anext(events) == Event(Change.DELETE, "k")
    one.stop()
    async with prism.connect(other.address) as b:
        assert (await b.increment("n", 0)).value == 2 * INCREMENTS


async def test_a_watch_survives_the_death_of_the_other_process(
    path: Path, serve: Callable[..., Server]
) -> None:
    one, other = serve().serving(), serve().serving()
    async with prism.connect(one.address) as a, a.watch("k") as events, asyncio.timeout(60):
        async with prism.connect(other.address) as b, b.watch("k"):
            version = await b.set("k", b"1")
            assert await anext(events) == Event(Change.PUT, "k", b"1", version)
            other.process.kill()
        version = await a.set("k", b"2")
        assert await anext(events) == Event(Change.PUT, "k", b"2", version)
        async with prism.connect(serve().serving().address) as c:
            version = await c.set("k", b"3")
            assert await anext(events) == Event(Change.PUT, "k", b"3", version)
