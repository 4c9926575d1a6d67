"""Expired keys: what the server removes, what watches report, and writes at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from prism.adapters.nats.driver import Nats
from prism.adapters.nats.encoding import encode_key
from prism.adapters.nats.settings import NatsSettings
from prism.ports import Change, Event, PrismError, Put
from tests.integration.nats.conftest import Open
from tests.servers.nats import NatsServer

TTL = timedelta(seconds=1)
LONG = timedelta(hours=1)
KEYS_OF_EACH_WRITE = 200
WRITING_S = 1.5
"""Time over which the writes are spread: the server begins to remove the keys within it."""


async def _set(kv: Nats, key: str) -> bytes:
    await kv.set(key, b"new")
    return b"new"


async def _set_with_ttl(kv: Nats, key: str) -> bytes:
    await kv.set(key, b"new", ttl=LONG)
    return b"new"


async def _set_if_absent(kv: Nats, key: str) -> bytes:
    await kv.compare_and_set(key, b"new", expected=None)
    return b"new"


async def _set_if_version(kv: Nats, key: str) -> bytes:
    version = await kv.set(key, b"newer")
    await kv.compare_and_set(key, b"new", expected=version)
    return b"new"


async def _increment(kv: Nats, key: str) -> bytes:
    await kv.increment(key)
    await kv.increment(key)
    return b"2"


async def _set_many(kv: Nats, key: str) -> bytes:
    (outcome,) = await kv.set_many([Put(key, b"new")])
    assert not isinstance(outcome, PrismError)
    return b"new"


async def _expire(kv: Nats, key: str) -> bytes:
    await kv.set(key, b"new")
    assert await kv.expire(key, LONG)
    return b"new"


async def _persist(kv: Nats, key: str) -> bytes:
    await kv.set(key, b"new", ttl=LONG)
    await kv.persist(key)
    return b"new"


async def _delete_and_set(kv: Nats, key: str) -> bytes:
    await kv.set(key, b"newer")
    assert await kv.delete(key)
    await kv.set(key, b"new")
    return b"new"


WRITES: tuple[Callable[[Nats, str], Awaitable[bytes]], ...] = (
    _set,
    _set_with_ttl,
    _set_if_absent,
    _set_if_version,
    _increment,
    _set_many,
    _expire,
    _persist,
    _delete_and_set,
)


async def wait_until_removed(jetstream: JetStreamContext, key: str) -> None:
    """Wait until the server has no value of the expired key any more."""
    while True:
        try:
            message = await jetstream.get_last_msg("KV_prism", f"$KV.prism.{encode_key(key)}")
        except NotFoundError:
            return
        if not message.data:
            return
        await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_write_while_the_server_removes_the_expired_value_is_kept(
    own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    """The driver alone, since only very many writes at once meet the moment of the removal.

    The server syncs each write to the disk, so that a write waits longer than by default.
    """
    driver = Nats()
    await driver.initialize(NatsSettings(own_server.url, timeout=timedelta(minutes=1)))
    keys = [f"{number}" for number in range(KEYS_OF_EACH_WRITE * len(WRITES))]
    written: dict[str, bytes] = {}

    async def write_after(number: int) -> str | None:
        """Return what went wrong."""
        key, write = keys[number], WRITES[number % len(WRITES)]
        await asyncio.sleep(TTL.total_seconds() + number / len(keys) * WRITING_S)
        try:
            written[key] = await write(driver, key)
        except PrismError as error:
            return f"{write.__name__} of {key}: {error.message}"
        return None

    try:
        await asyncio.gather(*(driver.set(key, b"old", ttl=TTL) for key in keys))
        problems = await asyncio.gather(*map(write_after, range(len(keys))))
        assert [problem for problem in problems if problem] == []
        await driver.set("last", b"value", ttl=TTL)
        await wait_until_removed(jetstream, "last")
        lost = set()
        for key, expected in written.items():
            entry = await driver.get(key)
            if entry is None or entry.value != expected:
                lost.add(key)
        assert lost == set()
    finally:
        await driver.stop()


async def test_server_writes_nothing_in_place_of_an_expired_key(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set("key", b"value", ttl=TTL)
        await wait_until_removed(jetstream, "key")
        assert (await jetstream.stream_info("KV_prism")).state.messages == 0


async def test_expiry_of_a_key_that_is_older_than_the_watch_is_reported_to_every_gateway(
    open_nats: Open, own_server: NatsServer
) -> None:
    async with open_nats(own_server.url) as first, open_nats(own_server.url) as second:
        # The watches begin before the keys expire, also on a busy machine.
        ttl = timedelta(seconds=5)
        await first.kv.set("a/key", b"value", ttl=ttl)
        await first.kv.set("a/other", b"value", ttl=LONG)
        await first.kv.set("b/key", b"value", ttl=ttl)
        async with first.kv.watch("a/") as one, second.kv.watch("a/") as two:
            for events in (one, two):
                assert await anext(events) == Event(Change.EXPIRE, "a/key")
            # Only one of them replaced the key: there is no second event.
            await first.kv.set("a/last", b"")
            for events in (one, two):
                assert (await anext(events)).key == "a/last"


async def test_expiry_is_reported_when_the_server_removed_the_key_first(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend, backend.kv.watch() as events:
        # The header of the server alone, from another client: it expires for both at once.
        for number in range(5):
            subject = f"$KV.prism.{encode_key(str(number))}"
            await jetstream.publish(subject, b"value", headers={"Nats-TTL": "1"})
        seen = [await anext(events) for _ in range(10)]
    expired = {event.key for event in seen if event.change is Change.EXPIRE}
    assert expired == {str(number) for number in range(5)}


async def test_markers_of_the_server_are_switched_off_while_the_bucket_is_open(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        info = await jetstream.stream_info("KV_prism")
        info.config.subject_delete_marker_ttl = 60.0
        await jetstream.update_stream(info.config)
        await backend.lifecycle.health()
        async with asyncio.timeout(30):
            while (await jetstream.stream_info("KV_prism")).config.subject_delete_marker_ttl:
                await asyncio.sleep(0.05)
