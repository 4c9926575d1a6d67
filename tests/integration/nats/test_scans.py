"""Scans: consumers that are lost or left over, and buckets that are recreated."""

from __future__ import annotations

import pytest
from nats.js import JetStreamContext

from prism.ports import Put, ScanExpired
from tests.integration.nats.conftest import Open
from tests.servers.nats import NatsServer

KEYS = {f"{number:02}" for number in range(50)}


async def test_finished_scan_leaves_no_consumer(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set_many([Put(key, b"value") for key in KEYS])
        first = await backend.kv.scan(page_size=40)
        assert len(await jetstream.consumers_info("KV_prism")) == 1
        last = await backend.kv.scan(page_size=40, page_token=first.next_token)
        assert {*first.keys, *last.keys} == KEYS
        assert last.next_token == ""
        # The server has deleted the consumer by the time it answers a later call.
        await backend.kv.scan(page_size=1)
        assert len(await jetstream.consumers_info("KV_prism")) == 1


async def test_page_whose_consumer_was_deleted_is_complete(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set_many([Put(key, b"value") for key in KEYS])
        page = await backend.kv.scan(page_size=7)
        seen = list(page.keys)
        while page.next_token:
            (consumer,) = await jetstream.consumers_info("KV_prism")
            await jetstream.delete_consumer("KV_prism", consumer.name)
            page = await backend.kv.scan(page_size=7, page_token=page.next_token)
            seen += page.keys
        assert sorted(seen) == sorted(KEYS)


async def test_scan_of_a_recreated_bucket_expires(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set_many([Put(key, b"value") for key in KEYS])
        page = await backend.kv.scan(page_size=7)
    await jetstream.delete_key_value("prism")
    async with open_nats(own_server.url) as backend:
        await backend.kv.set_many([Put(key, b"value") for key in KEYS])
        with pytest.raises(ScanExpired):
            await backend.kv.scan(page_size=7, page_token=page.next_token)
