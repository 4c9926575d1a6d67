"""Uses of a client around forks: `python forking.py ADDRESS HOW`; prints `fine` at the end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable

import prism
from prism.ports import Event


def child_of(task: Callable[[], None]) -> int:
    """Run a task in a child; return its exit status."""
    child = os.fork()
    if not child:
        signal.alarm(20)
        status = 1
        try:
            task()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def use(address: str, key: str) -> None:
    """Open a client, and use it."""
    async with prism.connect(address) as kv, kv.watch(key) as events:
        await kv.set(key, b"v")
        assert (await anext(events)).key == key
        entry = await kv.get(key)
        assert entry is not None


async def next_key(events: AsyncIterator[Event]) -> str:
    """Return the key of the next event."""
    return (await anext(events)).key


def after(address: str) -> None:
    """Fork after a client was used and closed."""
    asyncio.run(use(address, "parent"))
    assert child_of(lambda: asyncio.run(use(address, "child"))) == 0
    context = multiprocessing.get_context("fork")
    process = context.Process(target=lambda: asyncio.run(use(address, "process")))
    process.start()
    process.join(20)
    assert process.exitcode == 0


def during(address: str) -> None:
    """Fork while a client is open; both use it, and the child leaves the connection alone."""

    async def use_open(kv: prism.Client, key: str) -> None:
        # Commands are calls of their own, and may be the first.
        assert await kv.lifecycle.state() == "running"
        await kv.set(key, b"v")
        await kv.set(key, bytes(200_000))
        async with kv.watch(key) as events:
            await kv.delete(key)
            assert (await anext(events)).key == key

    with asyncio.Runner() as runner:
        connecting = prism.connect(address)
        kv = runner.run(connecting.__aenter__())
        watching = kv.watch("watched")
        events = runner.run(watching.__aenter__())
        runner.run(use_open(kv, "parent"))
        for number in range(2):
            assert child_of(lambda: asyncio.run(use_open(kv, f"child {number}"))) == 0  # noqa: B023
        assert child_of(lambda: asyncio.run(kv._server.close())) == 0
        runner.run(use_open(kv, "parent"))
        runner.run(kv.set("watched", b"v"))
        assert runner.run(next_key(events)) == "watched"
        runner.run(watching.__aexit__(None, None, None))
        runner.run(connecting.__aexit__(None, None, None))


def blocking(address: str) -> None:
    """Fork while a blocking client is open and threads use it, as a server with workers does."""

    def use_open(key: str) -> None:
        for _ in range(20):
            kv.increment(key)
        with kv.watch(key) as events:
            kv.delete(key)
            assert next(events).key == key

    stopped = threading.Event()

    def keep_busy() -> None:
        while not stopped.is_set():
            kv.get("busy")

    def child(key: str) -> None:
        # At once, while nothing has begun in this process.
        threads = [threading.Thread(target=use_open, args=(f"{key}/{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        use_open(key)
        kv.close()

    with prism.connect_sync(address) as kv, kv.watch("watched") as events:
        busy = threading.Thread(target=keep_busy)
        busy.start()
        use_open("parent")
        for number in range(3):
            assert child_of(lambda: child(f"child {number}")) == 0  # noqa: B023
        process = multiprocessing.get_context("fork").Process(target=child, args=("process",))
        process.start()
        process.join(20)
        assert process.exitcode == 0
        stopped.set()
        busy.join()
        use_open("parent")
        kv.set("watched", b"v")
        assert next(events).key == "watched"


if __name__ == "__main__":
    {"after": after, "during": during, "blocking": blocking}[sys.argv[2]](sys.argv[1])
    sys.stdout.write("fine\n")
