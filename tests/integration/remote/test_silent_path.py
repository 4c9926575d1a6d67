"""Client on a path that drops everything without a word, on each transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.client import channel as channel_module
from prism.adapters.client.channel import Channel
from prism.adapters.client.http2 import Pings
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.grpc.transports import grpcio
from prism.ports import BackendUnavailable, Outcome, PrismError, WatchEnded
from tests.integration.remote.conftest import serving
from tests.servers.relay import TcpRelay

LARGE = bytes(200 << 10)
"""Value that does not go through the operation stream."""

SOON_S = 20.0
"""On an idle machine it takes less than 5 s; without pings, until calls time out."""


@asynccontextmanager
async def relayed(address: str, timeout_s: float = 60) -> AsyncIterator[tuple[TcpRelay, Channel]]:
    async with TcpRelay(int(address.rpartition(":")[2])) as relay:
        channel = Channel(f"127.0.0.1:{relay.port}", timeout=timedelta(seconds=timeout_s))
        try:
            yield relay, channel
        finally:
            await channel.close()


async def until_it_works(call: Callable[[], Coroutine[Any, Any, object]]) -> float:
    """Repeat the call until it succeeds; return the seconds that it took."""
    since = time.monotonic()
    async with asyncio.timeout(60):
        while True:
            try:
                await call()
            except PrismError:
                await asyncio.sleep(0.02)
            else:
                return time.monotonic() - since


def ping_every(seconds: float, *, timeout_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_PINGS", Pings(after_s=seconds, timeout_s=timeout_s))
    monkeypatch.setattr(channel_module, "_IDLE_CHECK_S", seconds)


async def test_connection_that_went_silent_is_replaced_long_before_its_calls_time_out(
    serve: Any,
) -> None:
    served = await serve()
    async with relayed(served.address) as (relay, channel):
        kv = KeyValueClient(channel)
        async with kv.watch("k") as events:
            await kv.set("k", b"1")
            await anext(events)
            relay.silence_connections()
            assert await until_it_works(lambda: kv.get("k")) < SOON_S
            with pytest.raises(WatchEnded, match="start a new watch"):
                async with asyncio.timeout(SOON_S):
                    await anext(events)
        async with kv.watch("k") as events:
            await kv.set("k", b"2")
            assert (await anext(events)).value == b"2"


async def test_watch_ends_on_a_silent_path_without_any_call(serve: Any) -> None:
    served = await serve()
    async with (
        relayed(served.address) as (relay, channel),
        KeyValueClient(channel).watch("k") as events,
    ):
        relay.silence_connections()
        with pytest.raises(WatchEnded, match="stopped answering"):
            async with asyncio.timeout(SOON_S):
                await anext(events)


async def test_path_that_was_silent_for_long_soon_works_again(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ping_every(0.3, timeout_s=0.7, monkeypatch=monkeypatch)
    served = await serve()
    async with relayed(served.address, timeout_s=1) as (relay, channel):
        kv = KeyValueClient(channel)
        await until_it_works(lambda: kv.get("k"))
        before, relay.silent = relay.connections, True
        # Until it has tried to connect again in vain.
        async with asyncio.timeout(60):
            while relay.connections < before + 2:
                with pytest.raises(PrismError):
                    await kv.get("k")
        relay.silent = False
        assert await until_it_works(lambda: kv.get("k")) < SOON_S


@pytest.mark.parametrize("applied", [True, False])
async def test_writes_on_a_silent_path_are_unknown_and_happen_once_at_most(
    serve: Any, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    # Long enough for the writes to arrive.
    ping_every(0.3, timeout_s=2, monkeypatch=monkeypatch)
    served = await serve()
    async with relayed(served.address) as (relay, channel):
        kv = KeyValueClient(channel)
        await kv.increment("k", 0)
        if applied:
            relay.drop_replies = True
        else:
            relay.silence_connections()
        writes = [kv.increment("k") for _ in range(20)]
        outcomes = await asyncio.gather(*writes, kv.set("large", LARGE), return_exceptions=True)
        relay.drop_replies = False
        for outcome in outcomes:
            assert isinstance(outcome, BackendUnavailable)
            assert outcome.outcome is Outcome.UNKNOWN
        await until_it_works(lambda: kv.get("k"))
        assert (await kv.increment("k", 0)).value == (20 if applied else 0)
        assert await kv.exists("large") is applied


async def test_idle_client_is_not_disconnected_by_a_server_that_limits_pings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ping_every(0.2, timeout_s=2, monkeypatch=monkeypatch)
    # After each message that it sends, the server counts the pings from the beginning.
    monkeypatch.setattr(channel_module, "HEARTBEAT", timedelta(minutes=1))
    monkeypatch.setattr(grpcio, "_channel_options", lambda *_: [])
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(
            serving("grpcio", operate=True, timeout=timedelta(seconds=30))
        )
        relay, channel = await stack.enter_async_context(relayed(served.address))
        kv = KeyValueClient(channel)
        await kv.set("k", b"1")
        tally = served.services.calls["/prism.v1.KeyValueService/Operate"].tally
        async with asyncio.timeout(30):
            while not tally.ended:
                await asyncio.sleep(0.01)
        # Longer than a server of these settings bears pings.
        await asyncio.sleep(1.5)
        assert await kv.get("k") is not None
        assert relay.connections == 1


async def test_client_that_is_told_to_ping_less_pings_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ping_every(0.2, timeout_s=2, monkeypatch=monkeypatch)
    # After each message that it sends, the server counts the pings from the beginning.
    monkeypatch.setattr(channel_module, "HEARTBEAT", timedelta(minutes=1))
    monkeypatch.setattr(grpcio, "_channel_options", lambda *_: [])
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(
            serving("grpcio", operate=True, timeout=timedelta(seconds=30))
        )
        relay, channel = await stack.enter_async_context(relayed(served.address))
        kv = KeyValueClient(channel)
        ended = ""
        # On a busy machine a ping may be answered too late.
        while "too many pings" not in ended:
            async with kv.watch("k") as events:
                with pytest.raises(WatchEnded) as told:
                    async with asyncio.timeout(30):
                        await anext(events)
            ended = told.value.message.lower().replace("_", " ")
        async with kv.watch("k") as events:
            connections = relay.connections
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await anext(events)
            await kv.set("k", b"1")
            assert relay.connections <= connections + 1
