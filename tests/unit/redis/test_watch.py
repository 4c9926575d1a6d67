"""Connections of watches that are idle, or whose server hangs."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from prism.adapters.redis.executor import Executor
from prism.adapters.redis.watch import Watcher
from prism.ports import Change, Event, WatchEnded

PUT = [b"pmessage", b"pattern", b"__keyspace@0__:prism:key", b"set"]
NOTHING = None


class FakeConnection:
    """Subscribed connection of redis-py, with prepared messages; it never closes by itself."""

    is_connected = True

    def __init__(self, *messages: list[bytes] | None) -> None:
        self._messages = [[b"psubscribe"], *messages]
        self.sent: list[str] = []

    async def send_command(self, name: str, *_: object, check_health: bool) -> None:
        self.sent.append(name)

    async def read_response(self, timeout: float = 0) -> list[bytes] | None:
        return self._messages.pop(0)

    async def disconnect(self, nowait: bool = False) -> None:
        if not nowait:
            await asyncio.Event().wait()


def watcher(connection: FakeConnection) -> Watcher:
    class FakeExecutor:
        async def open_connection(self) -> FakeConnection:
            return connection

    # The watcher uses no other method of an executor.
    executor = cast("Executor", FakeExecutor())
    return Watcher(executor, backend="here", db=0, key_prefix=b"prism:", timeout_s=5)


async def test_idle_watch_asks_the_server_and_goes_on() -> None:
    connection = FakeConnection(NOTHING, [b"pong", b""], NOTHING, [b"pong", b""], PUT)
    async with watcher(connection).watch("") as events:
        assert await anext(events) == Event(Change.PUT, "key")
    assert connection.sent == ["PSUBSCRIBE", "PING", "PING"]


async def test_watch_whose_server_does_not_answer_ends() -> None:
    async with watcher(FakeConnection(NOTHING, NOTHING)).watch("") as events:
        with pytest.raises(WatchEnded, match="broke"):
            await anext(events)


async def test_leaving_a_watch_does_not_wait_for_the_server() -> None:
    async with asyncio.timeout(30):
        async with watcher(FakeConnection()).watch(""):
            pass
