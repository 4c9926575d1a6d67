"""Scans: consumers that are lost or left over, and buckets that are recreated."""

from __future__ import annotations

import asyncio

import pytest
from nats.js import JetStreamContext

from prism.ports import Exhausted, Put, ScanExpired
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
        seen, page = set(first.keys), first
        while page.next_token:  # the last page may be empty
            page = await backend.kv.scan(page_size=40, page_token=page.next_token)
            seen |= set(page.keys)
        assert seen == KEYS
        while await jetstream.consumers_info("KV_prism"):
            await asyncio.sleep(0.01)


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


async def test_scan_that_lost_its_consumer_after_the_last_key_ends(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set_many([Put(key, b"value") for key in KEYS])
        page = await backend.kv.scan(page_size=len(KEYS))
        assert set(page.keys) == KEYS
        (consumer,) = await jetstream.consumers_info("KV_prism")
        await jetstream.delete_consumer("KV_prism", consumer.name)
        page = await backend.kv.scan(page_size=len(KEYS), page_token=page.next_token)
        assert (page.keys, page.next_token) == ([], "")


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


async def test_as_many_scans_at_once_as_the_gateway_admits_share_a_few_consumers(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url, timeout="1m") as backend:
        await backend.kv.set_many([Put(key, b"value") for key in KEYS])

        async def scan() -> set[str]:
            first = await backend.kv.scan(page_size=40)
            last = await backend.kv.scan(page_size=40, page_token=first.next_token)
            return {*first.keys, *last.keys}

        scans = [asyncio.create_task(scan()) for _ in range(backend.max_in_flight)]
        for seen in await asyncio.gather(*scans):
            assert seen == KEYS
        # Scans that nobody continues.
        await asyncio.gather(*(backend.kv.scan(page_size=1) for _ in range(200)))
        await asyncio.gather(*(backend.kv.scan(page_size=size) for size in range(1, 41)))
        # Later pages at many positions keep a consumer each, up to a limit.
        assert len(await jetstream.consumers_info("KV_prism")) <= 64


async def test_scan_beyond_the_consumers_of_the_account_is_exhausted(open_nats: Open) -> None:
    account = {"jetstream": {"max_consumers": 1}, "users": [{"user": "u", "password": "p"}]}
    with NatsServer({"accounts": {"A": account}}) as server:
        url = server.url.replace("//", "//u:p@")
        async with open_nats(url) as first, open_nats(url) as second:
            await first.kv.set_many([Put(key, b"value") for key in KEYS])
            page = await first.kv.scan(page_size=1)
            with pytest.raises(Exhausted, match="max_consumers"):
                await second.kv.scan(page_size=1)
            while page.next_token:
                page = await first.kv.scan(page_size=100, page_token=page.next_token)
