"""Another client of the attacked server, in a process of its own, and what it sees."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from tests.attack.target import PrismProcess

_GET_EVERY_S, _HEALTH_EVERY_S = 0.02, 0.2
_TIMEOUT_S = 30.0
_WARM_UP_S = 90.0

BIG_BYTES = 1_000_000


@dataclass
class Sight:
    """What the bystander saw.

    Attributes:
        gets_s: duration of each Get, failed ones too.
        health_s: duration of each GET /health.
        errors: number of failures by what they said.
    """

    gets_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def longest_s(self) -> float:
        return max(self.gets_s, default=float("inf"))

    @property
    def p99_s(self) -> float:
        ordered = sorted(self.gets_s)
        return ordered[len(ordered) * 99 // 100] if ordered else float("inf")

    @property
    def longest_health_s(self) -> float:
        return max(self.health_s, default=float("inf"))


class Bystander:
    """Client that calls Get every 20 ms and /health every 200 ms, from entry to exit.

    Calls begin on time, however long earlier ones take, so a stall is seen in full.
    """

    def __init__(self, server: PrismProcess) -> None:
        # Not forked: gRPC does not survive that.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, server.port, server.http_port, server.headers("bystander"))
        self._process = context.Process(target=_run, args=arguments, daemon=True)

    def begin(self) -> None:
        """Forget what was seen so far."""
        self._pipe.send("begin")

    def end(self) -> Sight:
        """Return what was seen since `begin`."""
        self._pipe.send("end")
        sight: Sight = self._pipe.recv()
        return sight

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()


Metadata = tuple[tuple[str, str], ...]


def _run(pipe: Connection, port: int, http_port: int, metadata: Metadata) -> None:
    asyncio.run(_watch(pipe, port, http_port, metadata))


async def _watch(pipe: Connection, port: int, http_port: int, metadata: Metadata) -> None:
    import grpc

    from prism.v1 import keyvalue_pb2 as pb

    loop = asyncio.get_running_loop()
    # A process of its own is a connection of its own.
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        service = "/prism.v1.KeyValueService/"
        store: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{service}Set")
        fetch: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{service}Get")
        for key, value in (("big", b"x" * BIG_BYTES), ("small", b"x")):
            request = pb.SetRequest(key=key, value=value).SerializeToString()
            await store(request, timeout=_WARM_UP_S, metadata=metadata)
        small = pb.GetRequest(key="small").SerializeToString()
        big = pb.GetRequest(key="big").SerializeToString()
        # A server that has never had work to do is smaller than it will ever be again.
        for _ in range(3):
            ordinary = [fetch(small, timeout=_WARM_UP_S, metadata=metadata) for _ in range(400)]
            large = [fetch(big, timeout=_WARM_UP_S, metadata=metadata) for _ in range(10)]
            await asyncio.gather(*ordinary, *large)

        async def get() -> None:
            await fetch(small, timeout=_TIMEOUT_S, metadata=metadata)

        async def health() -> None:
            await loop.run_in_executor(threads, _ask_health, http_port)

        with ThreadPoolExecutor(8) as threads:
            sight = Sight()
            tasks = [
                asyncio.create_task(
                    _repeat(get, _GET_EVERY_S, lambda: sight.gets_s, lambda: sight)
                ),
                asyncio.create_task(
                    _repeat(health, _HEALTH_EVERY_S, lambda: sight.health_s, lambda: sight)
                ),
            ]
            pipe.send("ready")
            commands = ThreadPoolExecutor(1)
            while await loop.run_in_executor(commands, pipe.recv) == "begin":
                sight = Sight()
                await loop.run_in_executor(commands, pipe.recv)
                pipe.send(sight)
            for task in tasks:
                task.cancel()


async def _repeat(
    call: Callable[[], Awaitable[None]],
    every_s: float,
    durations: Callable[[], list[float]],
    sight: Callable[[], Sight],
) -> None:
    running: set[asyncio.Task[None]] = set()

    async def once() -> None:
        begun = time.perf_counter()
        try:
            await call()
        except Exception as error:
            sight().errors[_name_of(error)] += 1
        durations().append(time.perf_counter() - begun)

    while True:
        task = asyncio.create_task(once())
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(every_s)


def _name_of(error: Exception) -> str:
    code = getattr(error, "code", None)
    return str(code().name) if callable(code) else f"health: {type(error).__name__}"


def _ask_health(http_port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/health", timeout=_TIMEOUT_S) as it:
        it.read()
