"""The steps of the demo, with a commentary on stdout."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AsyncExitStack, aclosing

import prism
from examples.demo.proxy import Proxy, running
from prism.adapters.client import connect_admin
from prism.adapters.client.patterns import PatternsClient
from prism.cli.pattern_output import event_line, table_lines
from prism.domain.patterns.values import EventKind
from prism.ports import PrismError
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

VICTIM = "cache"
NAMES = ("cache", "sessions", "profiles")


async def run() -> None:
    """Run the demo; everything that it starts has ended afterwards."""
    _say("Three drivers behind one proxy, each in a process of its own.")
    _step("A Redis and a NATS server are started, as backends.")
    with RedisServer() as redis, NatsServer() as nats:
        arguments = (
            *("--pattern", "cache=memstore"),
            *("--pattern", "sessions=redis", "--sessions-url", redis.url),
            *("--pattern", "profiles=nats", "--profiles-url", nats.url),
        )
        _step("The proxy is started; it launches a process for each pattern:")
        _say(f"  prism proxy {' '.join(arguments)}")
        async with running(arguments) as proxy, connect_admin(proxy.address) as admin:
            await _use(proxy, admin.patterns)
            _step("The proxy receives SIGTERM; it first drains and stops its patterns.")
    status = proxy.process.returncode
    if status:
        raise SystemExit(f"the proxy ended with status {status}")
    _say("  It ended with status 0, and so does the demo.")


async def _use(proxy: Proxy, admin: PatternsClient) -> None:
    async with AsyncExitStack() as stack:
        clients = {
            # Without retries, to show which errors a caller gets meanwhile.
            name: await stack.enter_async_context(
                prism.connect(proxy.address, pattern=name, retry=False)
            )
            for name in NAMES
        }
        _step("The output of `prism patterns list`:")
        for line in table_lines(await admin.all()):
            _say(f"  {line}")

        _step("A greeting is written through each, over the one address of the proxy:")
        for name, client in clients.items():
            await client.set("greeting", f"hello from {name}".encode())
        await _read(clients)

        await _kill(admin)
        _step("Calls to it are refused as not applied; the other patterns still serve:")
        await _read(clients)

        _step("The proxy launches it again:")
        seen = await _until_it_serves(admin)
        await _read(clients)
        _say("  The process had its data in memory, so the new one is empty.")

        _step(f"The proxy's events of {VICTIM}, from the kill on:")
        for event in await admin.events(VICTIM):
            if event.sequence > seen:
                _say(f"  {event_line(event)}")


async def _read(clients: dict[str, prism.Client]) -> None:
    for name, client in clients.items():
        try:
            entry = await client.get("greeting")
        except PrismError as error:
            answer = f"refused: {error.message}"
        else:
            answer = "no such key" if entry is None else repr(entry.value.decode())
        _say(f"  {name:10} {client.profile.driver:10} {answer}")


async def _kill(admin: PatternsClient) -> None:
    details = await admin.get(VICTIM)
    process = details.pattern.status.process_id
    assert process is not None, f"{VICTIM} serves"
    _step(f"The process of {VICTIM} is killed: kill -9 {process}")
    os.kill(process, signal.SIGKILL)
    async with aclosing(admin.follow(VICTIM)) as events:
        async for event in events:
            if event.kind is EventKind.EXITED:
                return


async def _until_it_serves(admin: PatternsClient) -> int:
    """Wait until the victim serves again; return the number of its first SERVING event."""
    first_serving = 0
    async with aclosing(admin.follow(VICTIM)) as events:
        async for event in events:
            if event.kind is EventKind.SERVING:
                if first_serving:
                    return first_serving
                first_serving = event.sequence
    raise RuntimeError("the proxy ended")


def _step(text: str) -> None:
    _say(f"\n• {text}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
