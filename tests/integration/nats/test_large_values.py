"""Many large values at once: the server disconnects clients that request too much."""

from __future__ import annotations

import asyncio

from tests.integration.nats.conftest import Open
from tests.servers.nats import NatsServer

VALUE = bytes(1 << 20)
AT_ONCE = 150


async def test_connection_survives_many_large_values_at_once(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with open_nats(own_server.url, timeout="30s") as backend:
        kv = backend.kv
        await asyncio.gather(*(kv.set(f"{number}", VALUE) for number in range(AT_ONCE)))
        entries = await asyncio.gather(*(kv.get(f"{number}") for number in range(AT_ONCE)))
        assert all(entry is not None and entry.value == VALUE for entry in entries)
        pages = await asyncio.gather(*(kv.scan(values=True) for _ in range(AT_ONCE // 3)))
        assert all(page.keys for page in pages)
        health = await backend.lifecycle.health()
        assert "last_error" not in health.details
