"""A server that is restarted while clients use it: no call fails, and nothing happens twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prism
from prism.ports import BackendUnavailable, NotServing
from tests.servers.process import free_port

Start = Callable[..., Any]

CALLERS = 64


class Load:
    """Callers that count, so that a write that is lost or happens twice is found.

    Attributes:
        acknowledged: highest value of each caller's counter that it was told.
    """

    def __init__(self, kv: prism.Client) -> None:
        self._kv = kv
        self._stopped = False
        self.acknowledged = [0] * CALLERS

    async def call(self, number: int) -> None:
        while not self._stopped:
            self.acknowledged[number] = (await self._kv.increment(f"k{number}")).value
            await self._kv.get(f"k{number}")

    async def progress(self) -> None:
        done = sum(self.acknowledged)
        async with asyncio.timeout(60):
            while sum(self.acknowledged) < done + 500:
                await asyncio.sleep(0.02)

    async def check(self) -> None:
        """Compare every counter with what its caller was told."""
        for number in range(CALLERS):
            assert (await self._kv.increment(f"k{number}", 0)).value == self.acknowledged[number]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            callers = [tasks.create_task(self.call(number)) for number in range(CALLERS)]
            yield
            await self.progress()
            self._stopped = True
            await asyncio.gather(*callers)


async def test_no_call_fails_while_two_servers_restart_one_after_the_other(
    start_server: Start, tmp_path: Path
) -> None:
    database = ("--driver", "sqlite", "--sqlite-path", str(tmp_path / "prism.db"))
    servers = [start_server(*database, "--grpc-port", str(free_port())).serving() for _ in range(2)]
    addresses = [server.address for server in servers]
    async with prism.connect(",".join(addresses), timeout=timedelta(seconds=30)) as kv:
        load = Load(kv)
        async with load.running():
            for index in (0, 1):
                await load.progress()
                servers[index].signal(signal.SIGTERM)
                assert await asyncio.to_thread(servers[index].wait) == 0
                port = addresses[index].rpartition(":")[2]
                servers[index] = start_server(*database, "--grpc-port", port)
                await asyncio.to_thread(servers[index].serving)
        await load.check()


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_calls_wait_for_the_only_server_while_it_restarts(
    start_server: Start, tmp_path: Path, transport: str
) -> None:
    database = ("--driver", "sqlite", "--sqlite-path", str(tmp_path / "prism.db"))
    port = str(free_port())
    server = start_server(*database, "--transport", transport, "--grpc-port", port).serving()
    async with prism.connect(server.address, timeout=timedelta(seconds=30)) as kv:
        load = Load(kv)
        async with load.running():
            for _ in range(2):
                await load.progress()
                server.signal(signal.SIGTERM)
                assert await asyncio.to_thread(server.wait) == 0
                server = start_server(*database, "--transport", transport, "--grpc-port", port)
                await asyncio.to_thread(server.serving)
        await load.check()


async def test_without_retries_a_stopped_server_fails_the_call_at_once(
    start_server: Start,
) -> None:
    server = start_server().serving()
    async with (
        prism.connect(server.address, timeout=timedelta(seconds=30), retry=False) as once,
        prism.connect(server.address, timeout=timedelta(seconds=30)) as kv,
    ):
        await kv.set("k", b"v")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
        # Long before the deadline of the calls.
        async with asyncio.timeout(15):
            for client in (once, kv.once):
                with pytest.raises((BackendUnavailable, NotServing)):
                    await client.get("k")


async def test_connecting_waits_for_a_server_that_is_told_to(start_server: Start) -> None:
    port = str(free_port())
    first = start_server("--grpc-port", port).serving()
    address = first.address
    first.signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait) == 0
    with pytest.raises(BackendUnavailable):
        async with prism.connect(address):
            pass

    async def connect() -> None:
        async with prism.connect(address, wait_for_server=timedelta(seconds=30)) as kv:
            await kv.set("k", b"v")

    connecting = asyncio.create_task(connect())
    await asyncio.sleep(0)
    server = start_server("--grpc-port", port)
    await asyncio.to_thread(server.serving)
    await connecting
