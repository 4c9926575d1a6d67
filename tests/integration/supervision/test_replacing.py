"""Replacements under load, in which no call fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import pytest

import prism
from prism.domain.patterns.values import EventKind
from prism.ports import PreconditionFailed
from tests.integration.supervision.conftest import Proxy, is_gone
from tests.servers.redis import RedisServer

pytest_plugins = ["tests.servers.redis_fixtures"]

Start = Callable[..., Proxy]

PER_SECOND = 500
MOST_AT_ONCE = 500


class Load:
    """Requests at a steady rate, whether or not they succeed."""

    def __init__(self, kv: prism.Client) -> None:
        self._kv = kv
        self.acknowledged: dict[str, bytes] = {}
        self.failures: list[Exception] = []
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send requests until cancelled."""
        begun = monotonic()
        sent = 0
        while True:
            due = int((monotonic() - begun) * PER_SECOND)
            # A machine that is too busy for this rate gets fewer requests.
            due = min(due, sent + MOST_AT_ONCE - len(self._calls))
            for number in range(sent, due):
                call = asyncio.create_task(self._write(number))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            sent = max(sent, due)
            await asyncio.sleep(1 / PER_SECOND)

    async def finish(self) -> None:
        """Wait for the requests in flight."""
        await asyncio.gather(*self._calls)

    async def _write(self, number: int) -> None:
        key, value = f"key {number}", str(number).encode()
        try:
            await self._kv.set(key, value)
            self.acknowledged[key] = value
        except Exception as error:
            self.failures.append(error)


async def test_no_call_fails_and_every_acknowledged_write_is_kept(
    start_proxy: Start, redis_server: RedisServer
) -> None:
    proxy = start_proxy(
        *("--pattern", "store=redis"),
        *("--store-url", f"redis://127.0.0.1:{redis_server.port}/0"),
        *("--store-key-prefix", "replacing:"),
    )
    old = await proxy.process_id("store")
    async with prism.connect(proxy.address, retry=False) as kv, proxy.admin() as admin:
        load = Load(kv)
        running = asyncio.create_task(load.run())
        while len(load.acknowledged) < PER_SECOND:
            await asyncio.sleep(0.01)
        shown = await admin.replace("store", "", {"timeout": "6s"}, discard_data=False)
        reached = len(load.acknowledged) + PER_SECOND
        while len(load.acknowledged) < reached:
            await asyncio.sleep(0.01)
        running.cancel()
        await load.finish()

        assert load.failures == []
        keys = list(load.acknowledged)
        found: dict[str, bytes | None] = {}
        for begin in range(0, len(keys), 1000):
            some = keys[begin : begin + 1000]
            entries = await kv.get_many(some)
            found |= dict(zip(some, (getattr(e, "value", None) for e in entries), strict=True))
        assert found == load.acknowledged
    assert shown.status.process_id != old
    await is_gone(old)
    assert (await proxy.wait_event("store", EventKind.REPLACED)).message.endswith("serves")


async def test_replacement_with_an_unreachable_backend_is_rejected(
    start_proxy: Start, redis_server: RedisServer
) -> None:
    proxy = start_proxy(
        "--pattern", "store=redis", "--store-url", f"redis://127.0.0.1:{redis_server.port}/0"
    )
    before = await proxy.process_id("store")
    async with proxy.admin() as admin:
        with pytest.raises(PreconditionFailed, match=r"not replaced, and is unchanged: .*:1\b"):
            await admin.replace("store", "", {"url": "redis://127.0.0.1:1/0"}, discard_data=False)
    assert await proxy.process_id("store") == before
    async with prism.connect(proxy.address) as kv:
        await kv.set("key", b"")


async def test_replacement_with_separate_data_is_rejected(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "cache=memstore")
    async with prism.connect(proxy.address) as kv, proxy.admin() as admin:
        await kv.set("key", b"kept")
        with pytest.raises(PreconditionFailed, match="--discard-data"):
            await admin.replace("cache", "", {}, discard_data=False)
        entry = await kv.get("key")
        assert entry is not None
        assert entry.value == b"kept"
        await admin.replace("cache", "", {}, discard_data=True)
        assert await kv.get("key") is None
