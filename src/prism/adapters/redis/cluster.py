"""A Redis Cluster: redis-py finds the nodes and knows which has a key's slot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisClusterException

from prism.adapters.redis.address import Address
from prism.adapters.redis.executor import Request
from prism.adapters.redis.failures import NotSent, is_lost
from prism.adapters.redis.operations import Reply
from prism.adapters.redis.options import connection_options, no_retries, talks_tls
from prism.adapters.redis.pooled import Cancellation, PooledServer
from prism.adapters.redis.scripts import Command
from prism.adapters.redis.settings import RedisSettings
from prism.adapters.redis.single import send_together
from prism.ports import Unsupported

_HOPS = 5
"""A key that is somewhere else this often moves faster than we follow."""

_REFRESH_EVERY_S = 0.25

_SPARE = 2
"""Connections to a node that redis-py's own questions may take besides ours."""

_ASK_A_NODE_S = 1.0
"""What the cluster is made of, before another is asked."""


class Cluster:
    """Implements `Executor`.

    Not on redis-py's own `execute_command` and pipeline, which repeat what may have
    been applied, and refuse scripts in a pipeline.
    """

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        options = connection_options(settings, address) | {"socket_timeout": _ASK_A_NODE_S}
        self._cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            ssl=talks_tls(settings, address),
            retry=no_retries(),
            max_connections=settings.connections + _SPARE,
            **options,
        )
        self._settings = settings
        self._servers: dict[str, tuple[ClusterNode, PooledServer]] = {}
        self._stale = False
        self._refreshed_at = 0.0

    @property
    def connections(self) -> int:
        return sum(server.in_use for _, server in self._servers.values())

    async def open(self) -> None:
        await self._cluster.initialize()

    async def close(self) -> None:
        for _, server in self._servers.values():
            server.close()
        with suppress(redis.RedisError, OSError):
            await asyncio.gather(*(node.disconnect() for node, _ in self._servers.values()))
        with suppress(redis.RedisError, OSError):
            await self._cluster.aclose()

    async def send(self, request: Request, *, repeatable: bool) -> list[Reply]:
        replies: list[Reply] = []
        for _ in range(_HOPS):
            await self._refresh()
            try:
                node = self._cluster.nodes_manager.get_node_from_slot(key_slot(request.key))
            except RedisClusterException as error:
                self._stale = True
                return _not_sent(error, len(request.commands))
            replies = await self._server(node).send(request.commands)
            self._notice(replies)
            if moved := _redirection(replies):
                if isinstance(moved, MovedError):
                    await self._cluster.nodes_manager.move_slot(moved)
                    continue
                return await self._ask(moved, request)
            if not (repeatable and is_lost(replies[-1])):
                break
            repeatable = False
        return replies

    async def send_many(
        self, requests: Sequence[Request], *, loads: Sequence[Command], repeatable: bool
    ) -> list[list[Reply]]:
        await self._refresh()
        results: list[list[Reply]] = [[] for _ in requests]
        shares: dict[str, list[int]] = {}
        nodes: dict[str, ClusterNode] = {}
        for index, request in enumerate(requests):
            try:
                node = self._cluster.nodes_manager.get_node_from_slot(key_slot(request.key))
            except RedisClusterException as error:
                results[index] = _not_sent(error, len(request.commands))
                continue
            nodes[node.name] = node
            shares.setdefault(node.name, []).append(index)

        async def send_share(name: str, share: list[int]) -> None:
            together = await send_together(
                self._server(nodes[name]), [requests[i] for i in share], loads, repeatable=False
            )
            for index, replies in zip(share, together, strict=True):
                results[index] = replies

        await asyncio.gather(*(send_share(*share) for share in shares.items()))
        # One after another, so that a key named twice takes effect in order.
        for index, request in enumerate(requests):
            self._notice(results[index])
            if _redirection(results[index]) or (repeatable and is_lost(results[index][-1])):
                again = Request(request.key, (*loads, *request.commands))
                results[index] = (await self.send(again, repeatable=repeatable))[len(loads) :]
        return results

    async def servers(self) -> Sequence[PooledServer]:
        await self._refresh()
        nodes = sorted(self._cluster.get_primaries(), key=lambda node: node.name)
        return [self._server(node) for node in nodes]

    def suspect(self) -> None:
        self._stale = True

    async def dedicated(self) -> AbstractConnection:
        raise Unsupported("the Redis driver does not offer watch on a Cluster")

    async def _ask(self, redirection: AskError, request: Request) -> list[Reply]:
        """To the server that is taking the key over just now."""
        manager = self._cluster.nodes_manager
        node = manager.get_node(redirection.host, redirection.port)
        if node is None:
            node = ClusterNode(redirection.host, redirection.port, **manager.connection_kwargs)
            # Met before, maybe: one that takes over its first slot is in no map yet.
            node, _ = self._servers.get(node.name, (node, None))
        commands: list[Command] = []
        for command in request.commands:
            commands += [("ASKING",), command]
        return (await self._server(node).send(commands))[1::2]

    def _server(self, node: ClusterNode) -> PooledServer:
        known = self._servers.get(node.name)
        if known is not None and known[0] is node:
            return known[1]
        server = PooledServer(
            node.name,
            _NodePool(node),
            connections=self._settings.connections,
            timeout_s=self._settings.timeout.total_seconds(),
        )
        self._servers[node.name] = node, server
        return server

    def _notice(self, replies: Sequence[Reply]) -> None:
        """A node that is gone, or a cluster that is not whole: look again who has what."""
        if is_lost(replies[-1]) or isinstance(replies[-1], ClusterDownError):
            self._stale = True

    async def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._stale or now < self._refreshed_at + _REFRESH_EVERY_S:
            return
        self._refreshed_at = now
        self._stale = False
        cancellation = Cancellation()
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                await self._cluster.nodes_manager.initialize()
        except (redis.RedisError, RedisClusterException, OSError, TimeoutError):
            # What was known before is as good as anything.
            self._stale = True
        cancellation.check()


class _NodePool:
    """redis-py's connections to one node, as a pool that checks what it hands out."""

    def __init__(self, node: ClusterNode) -> None:
        self._node = node

    async def get_connection(self) -> Connection:
        connection = self._node.acquire_connection()
        # Only redis-py's own questions are to end so soon.
        connection.socket_timeout = None
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            if await connection.can_read():
                await connection.disconnect()
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: Any) -> None:
        connection.socket_timeout = _ASK_A_NODE_S
        self._node.release(connection)


def _redirection(replies: Sequence[Reply]) -> AskError | None:
    return next((reply for reply in replies if isinstance(reply, AskError)), None)


def _not_sent(cause: Exception, count: int) -> list[Reply]:
    return [NotSent.because(cause)] * count
