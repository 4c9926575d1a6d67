"""Mixed load on three drivers, with faults every few seconds, for ten minutes.

A proxy serves the embedded store, Redis and NATS. Callers read, write and watch on each, while
the backends and the processes of the patterns are frozen, or killed and started again. At the
end, when all is quiet again, memory, descriptors and threads must be what they were after the
first quarter at most; every pattern must be served, and every watch must still see changes.

    make soak SECONDS=120

Exits with 1 if something has grown or does not work.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import typer

import prism
from prism.ports import PrismError
from tests.attack.target import PrismProcess, pattern_process, process_tree
from tests.servers.nats import NatsServer
from tests.servers.process import ServerProcess
from tests.servers.redis import RedisServer

_MEMSTORE, _REDIS, _NATS = "memstore", "redis", "nats"
PATTERNS = (_MEMSTORE, _REDIS, _NATS)

_CALLERS = 8
_KEYS = 500
_FAULT_EVERY_S = 5.0
_RECOVERS_WITHIN_S = 120.0
"""Longer than the longest pause between two attempts of a proxy to start a failing pattern."""

_QUIET_S = 20.0
_GROWTH = 1.2
_SLACK_MIB, _SLACK_DESCRIPTORS = 32, 12


class SoakProxy(PrismProcess):
    """Proxy with a pattern for each driver."""

    def __init__(self, redis: RedisServer, nats: NatsServer) -> None:
        super().__init__("h2corn", is_proxy=True)
        self._urls = ["--redis-url", redis.url, "--nats-url", nats.url]

    def command(self) -> Sequence[str]:
        patterns = [word for name in PATTERNS for word in ("--pattern", f"{name}={name}")]
        ports = ["--grpc-port", str(self.port), "--metrics-port", str(self.http_port)]
        return [sys.executable, "-m", "prism.cli", "proxy", *patterns, *ports, *self._urls]


@dataclass(frozen=True)
class Size:
    """Memory, descriptors and threads of the proxy and its patterns."""

    memory_mib: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, server: PrismProcess) -> Size:
        tree = list(process_tree(server.pid))
        return cls(
            server.memory_mib(),
            sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in tree),
            sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in tree),
        )

    def or_larger(self, other: Size) -> Size:
        """Return the larger of each. While a pattern is started again, all are smaller."""
        return Size(
            max(self.memory_mib, other.memory_mib),
            max(self.descriptors, other.descriptors),
            max(self.threads, other.threads),
        )

    def growth(self, later: Size) -> list[str]:
        """Return the resources that have grown by more than is allowed."""
        grown = []
        if later.memory_mib > max(self.memory_mib * _GROWTH, self.memory_mib + _SLACK_MIB):
            grown.append(f"memory {self.memory_mib} → {later.memory_mib} MiB")
        if later.descriptors > self.descriptors + _SLACK_DESCRIPTORS:
            grown.append(f"descriptors {self.descriptors} → {later.descriptors}")
        if later.threads > self.threads + _SLACK_DESCRIPTORS:
            grown.append(f"threads {self.threads} → {later.threads}")
        return grown


class Load:
    """Callers and watchers of one pattern.

    Attributes:
        done: number of calls by how they ended.
        events: number of changes that the watch reported.
        restarts: number of times that the watch was begun again.
    """

    def __init__(self, address: str, pattern: str) -> None:
        self.pattern = pattern
        self.done: Counter[str] = Counter()
        self.events = 0
        self.restarts = 0
        self._address = address

    async def run(self) -> None:
        """Work until cancelled."""
        async with (
            prism.connect(self._address, pattern=self.pattern) as kv,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._watch(kv))
            for number in range(_CALLERS):
                tasks.create_task(self._call(kv, random.Random(number)))

    async def _call(self, kv: prism.Client, dice: random.Random) -> None:
        while True:
            key = f"soak-{dice.randrange(_KEYS)}"
            value = bytes(dice.choice((10, 1_000, 100_000)))
            try:
                async with asyncio.timeout(5):
                    match dice.randrange(5):
                        case 0:
                            await kv.set(key, value)
                        case 1:
                            await kv.delete(key)
                        case 2:
                            await kv.get_many([key, "soak-1", "soak-2"])
                        case 3:
                            await kv.scan("soak-1")
                        case _:
                            await kv.get(key)
                self.done["OK"] += 1
            except (PrismError, TimeoutError) as error:
                self.done[type(error).__name__] += 1
            await asyncio.sleep(0.02)

    async def _watch(self, kv: prism.Client) -> None:
        while True:
            with suppress(PrismError):
                async with kv.watch("soak-") as events:
                    async for _ in events:
                        self.events += 1
            self.restarts += 1
            await asyncio.sleep(0.5)


async def _faults(
    proxy: SoakProxy, backends: Sequence[ServerProcess], ended: asyncio.Event
) -> None:
    """Freeze or kill something every few seconds, and repair it, until the event is set."""
    dice = random.Random(1)
    while not await _is_set_within(_FAULT_EVERY_S, ended):
        kind = dice.choice(("freeze backend", "kill backend", "freeze pattern", "kill pattern"))
        if kind == "freeze backend":
            backend = dice.choice(backends)
            await backend.pause()
            await asyncio.sleep(2)
            await backend.resume()
        elif kind == "kill backend":
            backend = dice.choice(backends)
            await backend.kill()
            await asyncio.sleep(1)
            await backend.start()
        else:
            with suppress(LookupError, ProcessLookupError):
                pid = pattern_process(proxy.pid, dice.choice(PATTERNS))
                os.kill(pid, signal.SIGSTOP if kind == "freeze pattern" else signal.SIGKILL)
                if kind == "freeze pattern":
                    await asyncio.sleep(2)
                    os.kill(pid, signal.SIGCONT)


async def _is_set_within(seconds: float, event: asyncio.Event) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()


async def soak(seconds: float) -> list[str]:
    """Run everything, and return what has grown or does not work."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        nats = stack.enter_context(NatsServer())
        proxy = stack.enter_context(SoakProxy(redis, nats))
        loads = [Load(f"127.0.0.1:{proxy.port}", name) for name in PATTERNS]
        async with AsyncExitStack() as tasks:
            running = [asyncio.create_task(load.run()) for load in loads]
            for task in running:
                tasks.callback(task.cancel)
            ended = asyncio.Event()
            faults = asyncio.create_task(_faults(proxy, (redis, nats), ended))
            tasks.callback(faults.cancel)
            begun = time.monotonic()
            first = Size.of(proxy)
            while (passed := time.monotonic() - begun) < seconds:
                await asyncio.sleep(min(10.0, seconds / 8))
                size = Size.of(proxy)
                typer.echo(f"{passed:5.0f} s  {size}")
                if passed < seconds / 4:
                    first = first.or_larger(size)
                for task in (faults, *running):
                    if task.done():
                        task.result()
            # It first repairs what is frozen or killed.
            ended.set()
            await faults
            return await _judge(proxy, loads, first)


async def _judge(proxy: SoakProxy, loads: list[Load], first: Size) -> list[str]:
    """Return what does not work after everything has had time to recover."""
    await asyncio.sleep(_QUIET_S)
    wrong = []
    for load, problem in await asyncio.gather(*map(_recovery, loads)):
        typer.echo(
            f"{load.pattern}: {dict(load.done)}, {load.events:,} events, "
            f"{load.restarts} watches begun again"
        )
        if problem:
            wrong.append(f"{load.pattern}: {problem}")
    last = Size.of(proxy)
    wrong += first.growth(last)
    if not proxy.is_ready():
        wrong.append("the proxy is not ready")
    wrong += [f"foreign output: {line[:100]!r}" for line in proxy.foreign_lines(0)[:3]]
    typer.echo(f"  end   {last}")
    return wrong


async def _recovery(load: Load) -> tuple[Load, str]:
    """Wait until calls succeed and the watch sees changes; return what never does."""
    calls, events = load.done["OK"], load.events
    begun = time.monotonic()
    while time.monotonic() - begun < _RECOVERS_WITHIN_S:
        if load.done["OK"] > calls and load.events > events:
            return load, ""
        await asyncio.sleep(0.2)
    if load.done["OK"] == calls:
        return load, "no call succeeds any more"
    return load, "the watch sees no changes any more"


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    wrong = asyncio.run(soak(seconds))
    typer.echo("\n".join(wrong) or "memory, descriptors and threads are flat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
