"""Connections to the nodes of a Cluster, in states that real nodes seldom are in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import redis
from redis.asyncio.cluster import ClusterNode, NodesManager

from prism.adapters.redis import RedisSettings
from prism.adapters.redis.cluster import ClusterExecutor, NodeServer
from prism.adapters.redis.errors import NotSentError
from prism.adapters.redis.operations import Command
from prism.adapters.redis.settings import parse_url
from prism.ports import InvalidArgument

URL = "redis+cluster://one:7000"
COMMANDS: list[Command] = [("SET", "a", "1"), ("GET", "a")]


class FakeConnection:
    """Open connection of redis-py, with prepared replies."""

    socket_timeout: float | None = None

    def __init__(self, *replies: object, unread: bool = False) -> None:
        self._replies = list(replies)
        self._unread = unread
        self.connects = 0

    async def connect(self) -> None:
        self.connects += 1

    async def disconnect(self, nowait: bool = False) -> None:
        self._unread = False

    async def can_read(self) -> bool:
        return self._unread

    def pack_commands(self, commands: Sequence[Command]) -> list[bytes]:
        return [repr(command).encode() for command in commands]

    async def send_packed_command(self, packed: list[bytes], check_health: bool = True) -> None:
        assert not check_health, "the reply to a PING would count as the reply to a command"

    async def read_response(self) -> object:
        reply = b"unread" if self._unread else self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class FakeNode:
    """Node with one connection; None: it refuses connections."""

    name = "one:7000"

    def __init__(self, connection: FakeConnection | None) -> None:
        self._connection = connection

    def acquire_connection(self) -> FakeConnection:
        if self._connection is None:
            raise redis.ConnectionError("refused")
        return self._connection

    def release(self, connection: FakeConnection) -> None:
        return


def server(connection: FakeConnection | None) -> NodeServer:
    node = cast("ClusterNode", FakeNode(connection))
    return NodeServer(node, connections=1, timeout_s=5)


async def test_replies_belong_to_their_commands() -> None:
    assert await server(FakeConnection(b"OK", b"1")).send(COMMANDS) == [b"OK", b"1"]


async def test_connection_with_unread_data_is_opened_again() -> None:
    connection = FakeConnection(b"OK", b"1", unread=True)
    assert await server(connection).send(COMMANDS) == [b"OK", b"1"]
    assert connection.connects == 2


async def test_commands_to_a_node_that_refuses_connections_are_not_sent() -> None:
    replies = await server(None).send(COMMANDS)
    assert [type(reply) for reply in replies] == [NotSentError, NotSentError]


async def test_error_reply_that_closes_the_connection_answers_one_command() -> None:
    refused = redis.BusyLoadingError("loading")
    first, second = await server(FakeConnection(refused)).send(COMMANDS)
    assert first is refused
    assert type(second) is redis.ConnectionError


async def test_topology_is_read_when_it_is_stale_and_not_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = 0

    async def read(_: NodesManager) -> None:
        nonlocal reads
        reads += 1

    monkeypatch.setattr(NodesManager, "initialize", read)
    executor = ClusterExecutor(RedisSettings(url=URL), parse_url(URL))
    await executor.servers()
    assert reads == 0
    for _ in range(2):
        executor.invalidate_topology()
        await executor.servers()
        assert reads == 1


async def test_another_cluster_is_refused_at_a_reload() -> None:
    executor = ClusterExecutor(RedisSettings(url=URL), parse_url(URL))
    other = "redis+cluster://other:7000"
    with pytest.raises(InvalidArgument, match="restart the server"):
        executor.reload(RedisSettings(url=other), parse_url(other))
