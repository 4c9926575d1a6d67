"""One client of several servers: each call goes to one that serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prism
from prism.adapters.client import servers as servers_module
from prism.ports import BackendUnavailable, InvalidArgument, NotServing, Outcome
from tests.integration.remote.conftest import Served, serving
from tests.servers.process import free_port
from tests.servers.relay import TcpRelay

TIMEOUT = timedelta(seconds=30)


@pytest.fixture
async def serve_at() -> AsyncIterator[Callable[..., Any]]:
    """Function that starts a server at a place, in this process."""
    async with AsyncExitStack() as stack:

        async def start(**where: Any) -> Served:
            return await stack.enter_async_context(serving("h2corn", timeout=TIMEOUT, **where))

        yield start


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def answering(kv: prism.Client, *servers: Served) -> None:
    """Wait until the client sends something to each of these servers."""

    async def look() -> None:
        for server in servers:
            server.driver.keys_read.clear()
        await asyncio.gather(*(kv.get(f"seek-{n}") for n in range(8)))

    async with asyncio.timeout(30):
        await look()
        while not all(server.driver.keys_read for server in servers):
            await asyncio.sleep(0.01)
            await look()


async def test_calls_go_to_the_server_with_the_fewest_in_flight(serve_at: Any) -> None:
    a, b = await serve_at(), await serve_at()
    async with prism.connect(f"{a.address},{b.address}") as kv:
        await answering(kv, a, b)
        slow = [asyncio.create_task(kv.get(f"slow-{n}")) for n in range(10)]
        await until(lambda: a.driver.waiting + b.driver.waiting == 10)
        assert a.driver.waiting == b.driver.waiting == 5
        a.driver.release.set()
        await until(lambda: sum(task.done() for task in slow) == 5)
        b.driver.keys_read.clear()
        # Five wait at the other one.
        for n in range(20):
            await kv.get(f"quick-{n}")
        assert not b.driver.keys_read
        b.driver.release.set()
        await asyncio.gather(*slow)


async def test_operations_on_one_key_go_to_one_server(serve_at: Any) -> None:
    a, b = await serve_at(), await serve_at()
    async with prism.connect(f"{a.address}, {b.address}") as kv:
        await answering(kv, a, b)
        # Of different stores, so a key is only found at the server that it was set at.
        counts = await asyncio.gather(*(kv.increment(f"k{n % 10}") for n in range(100)))
        assert max(count.value for count in counts) == 10
        assert {(await kv.increment(f"k{n}")).value for n in range(10)} == {11}
        there = [await a.driver.exists(f"k{n}") for n in range(10)]
        assert any(there)
        assert not all(there)


async def test_server_that_drains_is_left_at_once_and_used_again(serve_at: Any) -> None:
    a, b = await serve_at(port=free_port()), await serve_at()
    async with prism.connect(f"{a.address},{b.address}") as kv:
        await answering(kv, a, b)
        await a.lifecycle.drain(timedelta(seconds=1))
        for n in range(40):
            await kv.set(f"k{n}", b"v")
        assert all([await b.driver.exists(f"k{n}") for n in range(40)])
        await a.server.stop()
        again = await serve_at(port=int(a.address.rpartition(":")[2]))
        await answering(kv, again, b)


async def test_without_retries_only_the_first_call_notices_that_a_server_drains(
    serve_at: Any,
) -> None:
    a, b = await serve_at(), await serve_at()
    async with prism.connect(f"{a.address},{b.address}", retry=False) as kv:
        await answering(kv, a, b)
        await a.lifecycle.drain(timedelta(seconds=1))
        failures: list[Outcome] = []
        for n in range(40):
            try:
                await kv.set(f"k{n}", b"v")
            except NotServing as error:
                failures.append(error.outcome)
        assert failures == [Outcome.NOT_APPLIED]


async def test_silent_server_gets_no_more_calls(serve_at: Any) -> None:
    a, b = await serve_at(), await serve_at()
    async with (
        TcpRelay(int(a.address.rpartition(":")[2])) as relay,
        prism.connect(f"127.0.0.1:{relay.port},{b.address}", timeout=TIMEOUT) as kv,
    ):
        await answering(kv, a, b)
        relay.silence_connections()
        # Those that are on their way there come back when the silence is noticed.
        async with asyncio.timeout(25):
            await asyncio.gather(*(kv.get(f"k{n}") for n in range(40)))
        # Of the path, only the connections of that time are silent.
        await answering(kv, a, b)


async def test_address_that_is_named_twice_is_one_server(serve_at: Any) -> None:
    server = await serve_at()
    async with prism.connect(f"{server.address},{server.address}") as kv:
        await kv.set("key", b"value")
    assert (await server.driver.get("key")).value == b"value"


async def test_one_server_is_enough_to_connect(serve_at: Any, tmp_path: Path) -> None:
    here = await serve_at(socket=tmp_path / "prism.sock")
    nobody = f"127.0.0.1:1,unix:{tmp_path / 'nobody'}"
    async with prism.connect(f"{nobody},{here.address}", retry=False) as kv:
        for n in range(20):
            await kv.set(f"k{n}", b"v")
        async with kv.watch("w") as events:
            await kv.set("w", b"v")
            assert (await anext(events)).key == "w"
        with pytest.raises(InvalidArgument, match="3 servers"):
            _ = kv.lifecycle
    with pytest.raises(BackendUnavailable, match="nothing listens there"):
        async with prism.connect(nobody):
            pass


async def test_addresses_of_a_name_are_followed(
    serve_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_UP_S", 0.05)
    monkeypatch.setattr(servers_module, "_LOOK_UP_ABSENT_S", 0.05)
    hosts = ["127.0.0.1"]
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "prism.test":
            return look_up(host, port, *args, **kwargs)
        if not hosts:
            raise socket.gaierror
        return [found for each in hosts for found in look_up(each, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    a = await serve_at(host="127.0.0.1", port=free_port())
    port = int(a.address.rpartition(":")[2])
    b = await serve_at(host="127.0.0.2", port=port)
    async with prism.connect(f"prism.test:{port}") as kv:
        await answering(kv, a)
        hosts.append("127.0.0.2")
        await answering(kv, a, b)
        hosts.remove("127.0.0.1")
        await until(lambda: next(iter(kv._server._servers)).ip == "127.0.0.2")  # type: ignore[union-attr]
        a.driver.keys_read.clear()
        await asyncio.gather(*(kv.get(f"k{n}") for n in range(20)))
        assert not a.driver.keys_read
        # A name server that fails takes no server away.
        hosts.clear()
        await asyncio.sleep(0.2)
        await kv.get("k")
    with pytest.raises(BackendUnavailable, match="no host of this name"):
        async with prism.connect(f"prism.test:{port}"):
            pass
    hosts.append("127.0.0.2")
    await b.lifecycle.drain(timedelta(seconds=1))


@pytest.mark.parametrize("text", ["", ",", "a:1,", "a:1,,b:2", "a:1,b", "unix:,a:1"])
async def test_addresses_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        async with prism.connect(text):
            pass
