"""While the server is away, calls report the true outcome; afterwards they work again."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import timedelta
from typing import Any

import pytest
from nats.js import JetStreamContext

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    FullKeyValue,
    HealthStatus,
    Outcome,
    PrismError,
    State,
    WatchEnded,
)
from tests.integration.nats.conftest import Open
from tests.integration.patience import answer_to, opened
from tests.servers.nats import NatsServer
from tests.servers.relay import TcpRelay

RECOVERY_S = 10.0
"""Time limit for reconnecting, and of what needs no waiting, also on a busy machine."""

WRITERS = 16


async def seconds_until_answers(kv: FullKeyValue) -> float:
    """Wait until a read succeeds; return the seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < 30:
        try:
            await kv.exists("key")
        except PrismError:
            await asyncio.sleep(0.01)
        else:
            break
    return time.monotonic() - began


async def wait_until_fails(kv: FullKeyValue) -> None:
    """Wait until a read fails."""
    while True:
        try:
            await kv.exists("key")
        except BackendUnavailable:
            return


async def test_calls_fail_while_the_server_is_down_and_work_afterwards(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set("key", b"value")
        await own_server.kill()
        began = time.monotonic()
        with pytest.raises(BackendUnavailable) as read:
            await backend.kv.get("key")
        assert str(own_server.port) in read.value.message
        with pytest.raises(BackendUnavailable) as write:
            await backend.kv.set("key", b"refused")
        assert write.value.outcome is Outcome.NOT_APPLIED
        assert time.monotonic() - began < RECOVERY_S
        assert (await backend.lifecycle.health()).status is HealthStatus.UNHEALTHY
        assert await backend.lifecycle.state() is State.RUNNING
        await own_server.start()
        assert await seconds_until_answers(backend.kv) < RECOVERY_S
        entry = await backend.kv.get("key")
        assert entry is not None
        assert entry.value == b"value"
        assert (await backend.kv.increment("number")).value == 1
        assert (await backend.lifecycle.health()).status is HealthStatus.HEALTHY


async def test_outcome_of_a_failed_write_is_true(own_server: NatsServer, open_nats: Open) -> None:
    outcomes: dict[str, Outcome | None] = {}
    stop = asyncio.Event()

    async def write(kv: FullKeyValue, writer: int) -> None:
        number = 0
        while not stop.is_set():
            key = f"{writer}/{number}"
            number += 1
            try:
                await kv.set(key, b"value")
            except PrismError as error:
                outcomes[key] = error.outcome
                await asyncio.sleep(0.01)
            else:
                outcomes[key] = None

    async with open_nats(own_server.url) as backend:
        writers = [asyncio.create_task(write(backend.kv, n)) for n in range(WRITERS)]
        for _ in range(3):
            written = sum(outcome is None for outcome in outcomes.values())
            while sum(outcome is None for outcome in outcomes.values()) < written + 200:
                await asyncio.sleep(0.001)
            await own_server.kill()
            failed = sum(outcome is not None for outcome in outcomes.values())
            while sum(outcome is not None for outcome in outcomes.values()) < failed + 20:
                await asyncio.sleep(0.001)
            await own_server.start()
            assert await seconds_until_answers(backend.kv) < RECOVERY_S
        stop.set()
        await asyncio.gather(*writers)
        present = {key for key in outcomes if await backend.kv.exists(key)}
    refused = {key for key, outcome in outcomes.items() if outcome is Outcome.NOT_APPLIED}
    assert {key for key, outcome in outcomes.items() if outcome is None} <= present
    assert refused
    assert not present & refused


async def test_write_without_an_answer_is_unknown_and_not_repeated(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_nats(own_server.url) as other,
        open_nats(f"nats://127.0.0.1:{relay.port}") as backend,
    ):
        await backend.kv.set("key", b"1")
        relay.drop_replies = True
        call = asyncio.create_task(backend.kv.set("key", b"2"))
        while (entry := await other.kv.get("key")) is None or entry.value != b"2":
            await asyncio.sleep(0.001)
        relay.abort_connections()
        with pytest.raises(BackendUnavailable) as failure:
            await call
        assert failure.value.outcome is Outcome.UNKNOWN
        await other.kv.set("key", b"9")
        relay.drop_replies = False
        assert await seconds_until_answers(backend.kv) < RECOVERY_S
        assert (await backend.kv.increment("key")).value == 10


async def test_change_whose_read_fails_is_not_applied(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_nats(own_server.url) as other,
        opened(open_nats, f"nats://127.0.0.1:{relay.port}", timeout="200ms") as backend,
    ):
        await other.kv.set("key", b"1")
        relay.drop_replies = True
        for change in (backend.kv.increment("key"), backend.kv.delete("key")):
            with pytest.raises(BackendTimeout) as failure:
                await change
            assert failure.value.outcome is Outcome.NOT_APPLIED
        relay.drop_replies = False
        await answer_to(lambda: backend.kv.get("key"))
        assert (await other.kv.increment("key")).value == 2


async def test_calls_to_a_hanging_server_time_out_and_work_afterwards(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with opened(open_nats, own_server.url, timeout="300ms") as backend:
        await answer_to(lambda: backend.kv.set("key", b"old"))
        await own_server.pause()
        began = time.monotonic()
        # The second increment waits for the first to finish with the key.
        writes = [
            backend.kv.set("key", b"new"),
            backend.kv.increment("n"),
            backend.kv.increment("n"),
        ]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert time.monotonic() - began < RECOVERY_S
        assert all(isinstance(outcome, BackendTimeout) for outcome in outcomes)
        await own_server.resume()
        assert await seconds_until_answers(backend.kv) < RECOVERY_S


async def test_broken_connection_is_replaced(own_server: NatsServer, open_nats: Open) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_nats(f"nats://127.0.0.1:{relay.port}") as backend,
    ):
        for _ in range(3):
            relay.abort_connections()
            await wait_until_fails(backend.kv)
            assert await seconds_until_answers(backend.kv) < RECOVERY_S


async def test_scan_continues_after_a_restart(own_server: NatsServer, open_nats: Open) -> None:
    async with open_nats(own_server.url) as backend:
        expected = {f"{number}" for number in range(50)}
        await asyncio.gather(*(backend.kv.set(key, b"value") for key in expected))
        page = await backend.kv.scan(page_size=20)
        await own_server.kill()
        await own_server.start()
        await seconds_until_answers(backend.kv)
        rest = await backend.kv.scan(page_size=100, page_token=page.next_token)
        assert {*page.keys, *rest.keys} == expected


async def test_restart_ends_a_watch(own_server: NatsServer, open_nats: Open) -> None:
    async with open_nats(own_server.url) as backend, backend.kv.watch() as events:
        await backend.kv.set("key", b"value")
        assert (await anext(events)).key == "key"
        await own_server.kill()
        with pytest.raises(WatchEnded):
            await anext(events)


async def test_bucket_in_memory_is_recreated_after_a_restart(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with open_nats(own_server.url, storage="memory") as backend:
        await backend.kv.set("key", b"value")
        await own_server.kill()
        await own_server.start()
        assert await seconds_until_answers(backend.kv) < RECOVERY_S
        assert await backend.kv.get("key") is None
        await backend.kv.set("key", b"value")


async def test_deleted_bucket_is_recreated_and_ends_a_watch(
    own_server: NatsServer, open_nats: Open, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend, backend.kv.watch() as events:
        await backend.kv.set("key", b"value")
        assert (await anext(events)).key == "key"
        await jetstream.delete_key_value("prism")
        # Health reads the state of the bucket, as the driver also does every few seconds.
        assert (await backend.lifecycle.health()).status is HealthStatus.UNHEALTHY
        with pytest.raises(WatchEnded, match="deleted"):
            await anext(events)
        assert await seconds_until_answers(backend.kv) < RECOVERY_S
        await backend.kv.set("key", b"value", ttl=timedelta(minutes=1))


async def test_bucket_that_others_recreated_gets_the_missing_features(
    own_server: NatsServer, open_nats: Open, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend, backend.kv.watch() as events:
        await backend.kv.set("key", b"value")
        assert (await anext(events)).key == "key"
        await jetstream.delete_key_value("prism")
        await jetstream.create_key_value(bucket="prism")
        await backend.lifecycle.health()
        with pytest.raises(WatchEnded, match="recreated"):
            await anext(events)
        assert await seconds_until_answers(backend.kv) < RECOVERY_S
        assert await backend.kv.get("key") is None
        async with backend.kv.watch() as again:
            await backend.kv.set("key", b"value", ttl=timedelta(minutes=1))
            assert (await anext(again)).key == "key"


async def test_connection_that_breaks_while_sending_fails_its_calls_at_once(
    own_server: NatsServer, open_nats: Open
) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with (
        TcpRelay(own_server.port) as relay,
        open_nats(f"nats://127.0.0.1:{relay.port}", timeout="60s") as backend,
    ):
        began = time.monotonic()
        for _ in range(5):
            writes = [
                asyncio.create_task(backend.kv.set(f"{n}", bytes(1 << 19))) for n in range(20)
            ]
            # Now some of the data is sent and the rest is not.
            await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
            relay.abort_connections()
            await asyncio.gather(*writes, return_exceptions=True)
            await seconds_until_answers(backend.kv)
        assert time.monotonic() - began < 50
    gc.collect()
    assert not [each for each in unhandled if isinstance(each.get("exception"), OSError)]


async def test_stop_ends_calls_that_wait_for_a_hanging_server(
    own_server: NatsServer, open_nats: Open
) -> None:
    async with open_nats(own_server.url) as backend:
        await backend.kv.set("key", b"value")
        await own_server.pause()
        calls = [asyncio.create_task(backend.kv.increment("number")) for _ in range(3)]
        await asyncio.sleep(0)
        await backend.lifecycle.stop(timedelta(seconds=2))
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, PrismError)
        await own_server.resume()


@pytest.mark.parametrize(
    "corruption",
    [
        pytest.param((b"\r\nHPUB ", b"\r\nHPXB "), id="unknown command"),
        pytest.param((b"Nats-TTL: ", b"Nats-TTL: x"), id="malformed header"),
    ],
)
async def test_error_after_a_corrupted_byte_leaves_outcomes_unknown(
    open_nats: Open, own_server: NatsServer, corruption: tuple[bytes, bytes]
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_nats(f"nats://127.0.0.1:{relay.port}") as backend,
    ):
        await backend.kv.set("before", b"value")
        relay.corruption = corruption
        outcomes = await asyncio.gather(
            *(
                backend.kv.set(f"key {number}", b"value", ttl=timedelta(hours=1))
                for number in range(10)
            ),
            return_exceptions=True,
        )
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        assert failures
        for failure in failures:
            assert isinstance(failure, BackendUnavailable)
            assert failure.outcome is Outcome.UNKNOWN
        assert await seconds_until_answers(backend.kv) < RECOVERY_S
