"""A server that is restarted while clients use it: no call fails, and nothing happens twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prism
from prism.ports import BackendUnavailable, NotServing

Start = Callable[..., Any]

CALLERS = 64


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_calls_wait_for_the_only_server_while_it_restarts(
    start_server: Start, tmp_path: Path, transport: str
) -> None:
    database = ("--driver", "sqlite", "--sqlite-path", str(tmp_path / "prism.db"))
    server = start_server(*database, "--transport", transport).serving()
    port = server.address.rpartition(":")[2]
    acknowledged = [0] * CALLERS
    stopped = False

    async def caller(kv: prism.Client, number: int) -> None:
        while not stopped:
            acknowledged[number] = (await kv.increment(f"k{number}")).value
            await kv.get(f"k{number}")

    async def progress() -> None:
        done = sum(acknowledged)
        async with asyncio.timeout(30):
            while sum(acknowledged) < done + 500:
                await asyncio.sleep(0.02)

    async with (
        prism.connect(server.address, timeout=timedelta(seconds=30), retry=True) as kv,
        asyncio.TaskGroup() as tasks,
    ):
        callers = [tasks.create_task(caller(kv, number)) for number in range(CALLERS)]
        for _ in range(2):
            await progress()
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 0
            server = start_server(*database, "--transport", transport, "--grpc-port", port)
            await asyncio.to_thread(server.serving)
        await progress()
        stopped = True
        await asyncio.gather(*callers)
        # A write that was repeated after it had been applied would have counted twice.
        for number in range(CALLERS):
            assert (await kv.increment(f"k{number}", 0)).value == acknowledged[number]


async def test_without_retries_a_stopped_server_fails_the_call_at_once(
    start_server: Start,
) -> None:
    server = start_server().serving()
    async with (
        prism.connect(server.address, timeout=timedelta(seconds=30)) as once,
        prism.connect(server.address, timeout=timedelta(seconds=30), retry=True) as kv,
    ):
        await kv.set("k", b"v")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait) == 0
        async with asyncio.timeout(5):
            for client in (once, kv.once):
                with pytest.raises((BackendUnavailable, NotServing)):
                    await client.get("k")


async def test_connecting_waits_for_a_server_that_is_told_to(start_server: Start) -> None:
    first = start_server().serving()
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
    server = start_server("--grpc-port", address.rpartition(":")[2])
    await asyncio.to_thread(server.serving)
    await connecting
