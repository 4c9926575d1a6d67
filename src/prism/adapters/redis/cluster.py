"""Executor for a Redis Cluster: redis-py finds the nodes and the slots that each serves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisClusterException

from prism.adapters.redis.access import Access, TlsConnection, connection_options
from prism.adapters.redis.connection import CancellationCheck, connect, read_refusal
from prism.adapters.redis.errors import (
    NotSentError,
    UnexpectedReplyError,
    is_connection_lost,
    is_error_reply,
    is_expected,
)
from prism.adapters.redis.executor import send_batch
from prism.adapters.redis.operations import Command, Operation, Reply, load_commands
from prism.adapters.redis.settings import Address, RedisSettings
from prism.kit import ClientTls
from prism.ports import InvalidArgument, Unsupported

_MAX_REDIRECTIONS = 5

_REFRESH_INTERVAL_S = 0.25

_SPARE_CONNECTIONS = 2
"""Connections to each node for redis-py's own requests, in addition to those for callers."""

_DISCOVERY_TIMEOUT_S = 1.0
"""Time for one node to describe the cluster before the next one is asked."""


class ClusterExecutor:
    """`Executor` for a Cluster.

    It does not use redis-py's own `execute_command` and pipeline: these repeat writes that
    may have been applied, and the pipeline refuses scripts.
    """

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        self._access = access = Access(settings, address)
        options = connection_options(settings, access)
        options["socket_timeout"] = _DISCOVERY_TIMEOUT_S
        self._cluster = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in address.hosts],
            max_connections=settings.connections + _SPARE_CONNECTIONS,
            **options,
        )
        if access.tls is not None:
            _encrypt(self._cluster, access.tls)
        self._hosts = address.hosts
        self._settings = settings
        self._servers: dict[str, NodeServer] = {}
        self._topology_is_stale = False
        self._refreshed_at = 0.0

    @property
    def connection_count(self) -> int:
        return sum(server.connections_in_use for server in self._servers.values())

    async def open(self) -> None:
        try:
            await self._cluster.initialize()
        except RedisClusterException:
            for host, port in self._hosts:
                if refusal := await read_refusal(host, port):
                    raise refusal from None
            raise

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        with suppress(redis.RedisError, OSError):
            await asyncio.gather(*(server.node.disconnect() for server in self._servers.values()))
        with suppress(redis.RedisError, OSError):
            await self._cluster.aclose()

    async def send(
        self, key: bytes, commands: tuple[Command, ...], *, retryable: bool
    ) -> list[Reply]:
        replies: list[Reply] = []
        for _ in range(_MAX_REDIRECTIONS):
            await self._refresh_topology()
            try:
                server = self._server_of_key(key)
            except RedisClusterException as error:
                self._topology_is_stale = True
                return _not_sent(error, len(commands))
            replies = await server.send(commands)
            self._mark_stale_on_failure(replies)
            if redirection := _redirection(replies):
                if isinstance(redirection, MovedError):
                    await self._cluster.nodes_manager.move_slot(redirection)
                    continue
                return await self._send_asking(redirection, commands)
            if not (retryable and is_connection_lost(replies[-1])):
                break
            retryable = False
        return replies

    async def send_many(self, batch: Sequence[Operation[object]]) -> list[list[Reply]]:
        await self._refresh_topology()
        retryable = not any(operation.writes for operation in batch)
        results: list[list[Reply]] = [[] for _ in batch]
        indexes_by_server: dict[NodeServer, list[int]] = {}
        for index, operation in enumerate(batch):
            try:
                server = self._server_of_key(operation.key)
            except RedisClusterException as error:
                results[index] = _not_sent(error, len(operation.commands))
            else:
                indexes_by_server.setdefault(server, []).append(index)

        async def send_share(server: NodeServer, indexes: list[int]) -> None:
            share = [batch[index] for index in indexes]
            replies = await send_batch(server, share, retryable=False)
            for index, each in zip(indexes, replies, strict=True):
                results[index] = each

        await asyncio.gather(*(send_share(*each) for each in indexes_by_server.items()))
        # One after another, so that operations on one key take effect in order.
        for index, operation in enumerate(batch):
            self._mark_stale_on_failure(results[index])
            lost = is_connection_lost(results[index][-1])
            if _redirection(results[index]) or (retryable and lost):
                loads = load_commands(operation.commands)
                replies = await self.send(
                    operation.key, loads + operation.commands, retryable=retryable
                )
                results[index] = replies[len(loads) :]
        return results

    def check_together(self, keys: Sequence[bytes]) -> None:
        slots = {key_slot(key) for key in keys}
        if len(slots) > 1:
            raise InvalidArgument(
                f"the keys of the transaction are in {len(slots)} hash slots of the Redis Cluster, "
                "and it writes keys of one slot together only: give all of them a common part in "
                "braces, such as {order 7}",
                reason="CROSS_SLOT",
            )

    async def servers(self) -> Sequence[NodeServer]:
        await self._refresh_topology()
        nodes = sorted(self._cluster.get_primaries(), key=lambda node: node.name)
        return [self._server(node) for node in nodes]

    def invalidate_topology(self) -> None:
        self._topology_is_stale = True

    async def open_connection(self) -> AbstractConnection:
        raise Unsupported("the Redis driver does not offer watch on a Cluster")

    def reload(self, settings: RedisSettings, address: Address) -> None:
        self._access.reload(settings, address)

    async def _send_asking(
        self, redirection: AskError, commands: tuple[Command, ...]
    ) -> list[Reply]:
        """Send commands to the node that is importing the slot, each after ASKING."""
        manager = self._cluster.nodes_manager
        node = manager.get_node(redirection.host, redirection.port)
        if node is None:
            node = ClusterNode(redirection.host, redirection.port, **manager.connection_kwargs)
            # A node that imports its first slot is not in redis-py's map; reuse its server.
            if known := self._servers.get(node.name):
                node = known.node
        asking: list[Command] = []
        for command in commands:
            asking += [("ASKING",), command]
        return (await self._server(node).send(asking))[1::2]

    def _server_of_key(self, key: bytes) -> NodeServer:
        return self._server(self._cluster.nodes_manager.get_node_from_slot(key_slot(key)))

    def _server(self, node: ClusterNode) -> NodeServer:
        known = self._servers.get(node.name)
        if known is not None and known.node is node:
            return known
        server = NodeServer(
            node,
            connections=self._settings.connections,
            timeout_s=self._settings.timeout.total_seconds(),
        )
        self._servers[node.name] = server
        return server

    def _mark_stale_on_failure(self, replies: Sequence[Reply]) -> None:
        """Mark the topology as stale if a node is gone or the cluster is down."""
        if is_connection_lost(replies[-1]) or isinstance(replies[-1], ClusterDownError):
            self._topology_is_stale = True

    async def _refresh_topology(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._topology_is_stale or now < self._refreshed_at + _REFRESH_INTERVAL_S:
            return
        self._refreshed_at = now
        self._topology_is_stale = False
        cancellation = CancellationCheck()
        try:
            async with asyncio.timeout(self._settings.timeout.total_seconds()):
                await self._cluster.nodes_manager.initialize()
        except (redis.RedisError, RedisClusterException, OSError, TimeoutError):
            # Go on with the old topology, and try again later.
            self._topology_is_stale = True
        cancellation.check()


def _encrypt(cluster: RedisCluster, tls: ClientTls) -> None:
    """Let every connection use TLS; redis-py lets nobody choose their class."""
    cluster.nodes_manager.connection_kwargs.update(connection_class=TlsConnection, tls=tls)
    for node in cluster.startup_nodes:
        node.connection_class = TlsConnection
        node.connection_kwargs["tls"] = tls


class NodeServer:
    """`Server` for one node, on a bounded pool of redis-py's connections to it.

    redis-py raises when its pool is empty, and has a timeout for each read and write;
    here a call waits for a free connection, and one deadline covers the whole call.

    Attributes:
        node: redis-py's node, which owns the connections.
        connections_in_use: number of connections with unanswered commands.
    """

    def __init__(self, node: ClusterNode, *, connections: int, timeout_s: float) -> None:
        self.node = node
        self.connections_in_use = 0
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(connections)
        self._closed = False

    @property
    def name(self) -> str:
        return self.node.name

    def close(self) -> None:
        """Accept no more commands; the caller closes the node's connections."""
        self._closed = True

    async def send(self, commands: Sequence[Command], *, retryable: bool = False) -> list[Reply]:
        replies = await self._send_once(commands)
        if retryable and is_connection_lost(replies[-1]):
            replies = await self._send_once(commands)
        return replies

    async def _send_once(self, commands: Sequence[Command]) -> list[Reply]:
        replies: list[Reply] = []
        sent = False
        failure: Exception
        cancellation = CancellationCheck()
        try:
            async with asyncio.timeout(self._timeout_s), self._free:
                if self._closed:
                    raise redis.ConnectionError("closed")
                connection = await self._acquire()
                self.connections_in_use += 1
                try:
                    cancellation.check()
                    packed = connection.pack_commands(commands)
                    sent = True
                    await connection.send_packed_command(packed, check_health=False)
                    while len(replies) < len(commands):
                        replies.append(await _read_reply(connection))
                finally:
                    self.connections_in_use -= 1
                    if self._closed:
                        await connection.disconnect(nowait=True)
                    self._release(connection)
        except (redis.RedisError, TimeoutError, OSError) as error:
            failure = error
        else:
            return replies
        if not sent:
            return _not_sent(failure, len(commands))
        replies.append(failure)
        if is_error_reply(failure):
            # It answers one command; the outcome of those after it is unknown.
            failure = redis.ConnectionError("closed")
        return replies + [failure] * (len(commands) - len(replies))

    async def _acquire(self) -> Connection:
        """Take an open connection with nothing left to read."""
        connection = self.node.acquire_connection()
        # redis-py's timeout is meant for its own requests only.
        connection.socket_timeout = None
        try:
            await connect(connection)
            if await connection.can_read():
                await connection.disconnect()
                await connect(connection)
        except BaseException:
            self._release(connection)
            raise
        return connection

    def _release(self, connection: Connection) -> None:
        connection.socket_timeout = _DISCOVERY_TIMEOUT_S
        self.node.release(connection)


async def _read_reply(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response()
    except redis.ResponseError as error:
        if is_expected(error):
            return error
        await connection.disconnect(nowait=True)
        raise UnexpectedReplyError(str(error)) from None


def _redirection(replies: Sequence[Reply]) -> AskError | None:
    return next((reply for reply in replies if isinstance(reply, AskError)), None)


def _not_sent(cause: Exception, count: int) -> list[Reply]:
    return [NotSentError(cause)] * count
