"""Watch over a real connection, on each transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any

import grpc
import pytest

import prism
from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.grpc.servicers.heartbeats import SHORTEST_INTERVAL
from prism.adapters.remote import Remote, RemoteSettings
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Change,
    Event,
    NotServing,
    PrismError,
    Unsupported,
    WatchEnded,
)
from prism.v1 import keyvalue_pb2 as pb
from tests.servers.relay import TcpRelay

WATCH = "/prism.v1.KeyValueService/Watch"

IDLE_S = 0.7


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def end_of(events: Any) -> PrismError:
    try:
        async with asyncio.timeout(30):
            while True:
                await anext(events)
    except PrismError as ended:
        return ended


async def test_first_message_confirms_the_watch(serve: Any) -> None:
    served = await serve()
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.unary_stream(WATCH)(pb.WatchRequest(prefix="k").SerializeToString())
        first = pb.WatchResponse.FromString(await call.read())
        assert first.WhichOneof("message") == "started"
        version = await served.kv.set("k", b"v")
        event = pb.WatchResponse.FromString(await call.read()).event
        assert event == pb.WatchEvent(
            type=pb.WATCH_EVENT_TYPE_PUT, key="k", value=b"v", version=version
        )
        call.cancel()


async def test_deadline_of_the_caller_ends_a_watch(serve: Any) -> None:
    served = await serve()
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.unary_stream(WATCH)(b"", timeout=0.3)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: not served.driver._store.watchers.any)


async def test_cancelled_watch_leaves_no_watcher_behind(serve: Any) -> None:
    served = await serve()
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.unary_stream(WATCH)(b"")
        await call.read()
        assert served.driver._store.watchers.any
        call.cancel()
        await until(lambda: not served.driver._store.watchers.any)


async def test_caller_that_stops_reading_and_leaves_leaves_no_watcher_behind(serve: Any) -> None:
    served = await serve()
    async with served.kv.watch("k"):
        # More than the connection buffers, so that the server waits with a message to send.
        for _ in range(120):
            await served.kv.set("k", bytes(64 << 10))
    await until(lambda: not served.driver._store.watchers.any)


async def test_watch_without_events_outlives_a_proxy_that_ends_silent_streams(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    watches = served.services.calls[WATCH].tally
    port = int(served.address.rpartition(":")[2])

    def block(address: str) -> Event:
        with prism.connect_sync(address) as kv, kv.watch("k") as events:
            return next(events)

    async def drive(address: str) -> Event:
        driver = Remote()
        await driver.initialize(RemoteSettings(address))
        try:
            async with driver.watch("k") as events:
                return await anext(events)
        finally:
            await driver.stop()

    async with TcpRelay(port, idle_timeout_s=IDLE_S) as relay:
        address = f"127.0.0.1:{relay.port}"
        async with prism.connect(address) as kv:
            monkeypatch.setattr("prism.adapters.client.channel.HEARTBEAT", timedelta(minutes=1))
            async with kv.watch("k") as events:
                assert isinstance(await end_of(events), WatchEnded)
            monkeypatch.setattr("prism.adapters.client.channel.HEARTBEAT", SHORTEST_INTERVAL)
            async with kv.watch("k") as events:
                readings = [
                    asyncio.ensure_future(anext(events)),
                    asyncio.create_task(asyncio.to_thread(block, address)),
                    asyncio.create_task(drive(address)),
                ]
                await until(lambda: watches.started == 4)
                done, _ = await asyncio.wait(readings, timeout=3 * IDLE_S)
                assert not done
                version = await served.kv.set("k", b"v")
                event = Event(Change.PUT, "k", b"v", version)
                assert await asyncio.gather(*readings) == [event] * 3
    await until(lambda: not served.driver._store.watchers.any)


async def test_caller_that_asks_for_no_heartbeat_gets_none(serve: Any) -> None:
    served = await serve()
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:

        async def next_message(call: Any) -> Any:
            message = pb.WatchResponse.FromString(await call.read())
            return message.WhichOneof("message")

        silent = channel.unary_stream(WATCH)(b"")
        request = pb.WatchRequest()
        request.heartbeat_interval.FromMilliseconds(100)
        beating = channel.unary_stream(WATCH)(request.SerializeToString())
        assert [await next_message(silent), await next_message(beating)] == ["started"] * 2
        assert [await next_message(beating) for _ in range(3)] == ["heartbeat"] * 3
        await served.kv.set("k", b"v")
        assert await next_message(silent) == "event"
        request.heartbeat_interval.FromMilliseconds(99)
        refused = channel.unary_stream(WATCH)(request.SerializeToString())
        assert await refused.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "at least 0.1 s" in await refused.details()


async def test_stopped_server_ends_a_watch(serve: Any) -> None:
    served = await serve()
    async with served.kv.watch("k") as events:
        version = await served.kv.set("k", b"v")
        assert await anext(events) == Event(Change.PUT, "k", b"v", version)
        stopping = asyncio.create_task(served.server.stop())
        await served.lifecycle.stop()
        assert isinstance(await end_of(events), NotServing)
    await stopping


async def test_broken_connection_ends_a_watch(serve: Any) -> None:
    served = await serve()
    host, _, port = served.address.rpartition(":")
    writers: list[asyncio.StreamWriter] = []

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection(host, int(port))
        writers.extend((writer, there))

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(1 << 16):
                    target.write(data)
            target.transport.abort()

        await asyncio.gather(pump(reader, there), pump(there_reader, writer))

    between = await asyncio.start_server(forward, "127.0.0.1", 0)
    address = f"127.0.0.1:{between.sockets[0].getsockname()[1]}"
    channel = Channel(address, timeout=timedelta(seconds=10), tls=None, admin_token=None)
    try:
        async with KeyValueClient(channel).watch("k") as events:
            for writer in writers:
                writer.transport.abort()
            ended = await end_of(events)
            assert isinstance(ended, WatchEnded)
            assert "broke" in ended.message
    finally:
        await channel.close()
        between.close()


async def test_closing_the_connection_ends_its_watches(serve: Any) -> None:
    served = await serve()
    async with served.kv.watch("k") as events:
        reading = asyncio.create_task(end_of(events))
        await asyncio.sleep(0)
        await served.channel.close()
        assert isinstance(await reading, NotServing)
    with pytest.raises(NotServing):
        async with served.kv.watch("k"):
            pass


async def test_watch_on_a_server_without_watches_is_unsupported() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = Channel(
        f"127.0.0.1:{port}", timeout=timedelta(seconds=10), tls=None, admin_token=None
    )
    try:
        with pytest.raises(Unsupported):
            async with KeyValueClient(channel).watch("k"):
                pass
    finally:
        await channel.close()
        await server.stop(None)


async def test_watch_without_a_server_fails_on_entering() -> None:
    channel = Channel("127.0.0.1:1", timeout=timedelta(seconds=5), tls=None, admin_token=None)
    try:
        with pytest.raises(BackendUnavailable, match="no Prism server answers at"):
            async with KeyValueClient(channel).watch("k"):
                pass
    finally:
        await channel.close()


async def test_watch_that_the_server_does_not_confirm_times_out() -> None:
    answered = asyncio.Event()

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        answered.set()

    silent = await asyncio.start_server(ignore, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    channel = Channel(
        f"127.0.0.1:{port}", timeout=timedelta(milliseconds=300), tls=None, admin_token=None
    )
    try:
        with pytest.raises((BackendTimeout, BackendUnavailable)):
            async with KeyValueClient(channel).watch("k"):
                pass
    finally:
        await channel.close()
        silent.close()
        await answered.wait()


async def test_slow_reader_delays_no_operation(serve: Any) -> None:
    served = await serve()
    async with served.kv.watch("k") as events:
        for _ in range(400):
            await served.kv.set("k", bytes(64 << 10))
        assert isinstance(await end_of(events), WatchEnded)


async def test_slow_reader_delays_no_other_watch(serve: Any) -> None:
    served = await serve()
    value = bytes(64 << 10)
    async with served.kv.watch("k") as slow, served.kv.watch("k") as quick:
        for _ in range(400):
            version = await served.kv.set("k", value)
            async with asyncio.timeout(30):
                assert await anext(quick) == Event(Change.PUT, "k", value, version)
        ended = await end_of(slow)
        assert isinstance(ended, WatchEnded)
        assert "events behind" in ended.message
        await served.kv.delete("k")
        assert (await anext(quick)).change is Change.DELETE


async def test_slowest_reader_loses_its_watch_when_all_together_hold_too_much(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.adapters.client.watch.MAX_TOTAL_BYTES", 1 << 20)
    served = await serve()
    async with served.kv.watch("") as slowest, served.kv.watch("a") as slow:
        await served.kv.set("a", b"")
        for _ in range(40):
            await served.kv.set("b", bytes(64 << 10))
        assert "events behind" in (await end_of(slowest)).message
        assert (await anext(slow)).key == "a"


async def test_watches_share_connections_up_to_a_limit(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.adapters.client.watch.MAX_CONNECTION_WATCHES", 3)
    served = await serve()
    async with (
        TcpRelay(int(served.address.rpartition(":")[2])) as relay,
        AsyncExitStack() as stack,
    ):
        channel = Channel(f"127.0.0.1:{relay.port}", timeout=timedelta(seconds=10))
        stack.push_async_callback(channel.close)
        kv = KeyValueClient(channel)
        for _ in range(7):
            await stack.enter_async_context(kv.watch("k"))
        assert relay.connections == 3
