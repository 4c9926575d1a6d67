"""Groups of Redis servers: a Cluster, and a master with a replica and sentinels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from tests.servers.process import TIMEOUT_S, free_port
from tests.servers.redis import RedisServer, redis_server_program

SERVICE = "prism"
"""Name of the master at the sentinels."""

_SLOTS = 16_384
_MASTERS = 3
_SENTINELS = 3
_POLL_S = 0.02

ServerT = TypeVar("ServerT", bound=RedisServer)


class ServerGroup:
    """Servers that are started and stopped together."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def launch(self) -> None:
        """Start the servers, and return when they work together."""
        raise NotImplementedError

    def add(self, server: ServerT) -> ServerT:
        """Start a server that is stopped with the group."""
        self._stack.enter_context(server)
        return server

    def __enter__(self) -> Self:
        try:
            self.launch()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


class ClusterNode(RedisServer):
    name = "redis-cluster"

    def __init__(self) -> None:
        # The default port of the bus is 10,000 higher, which may be out of range.
        self.bus_port = free_port()
        super().__init__(
            {
                "cluster-enabled": "yes",
                "cluster-port": str(self.bus_port),
                "cluster-announce-ip": "127.0.0.1",
                "cluster-node-timeout": "2000",
            }
        )

    def knows(self, nodes: int) -> bool:
        """Return whether the node knows this number of nodes, and the owner of every slot."""
        info = self.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % nodes in info


class RedisCluster(ServerGroup):
    """Cluster of three masters, each with a third of the slots.

    Implements `prism.testing.BackendServer`: all masters are away at once, because keys on a
    master that stays would be answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[ClusterNode] = []

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def launch(self) -> None:
        self.nodes = [self.add(ClusterNode()) for _ in range(_MASTERS)]
        for number, node in enumerate(self.nodes):
            first, end = number * _SLOTS // _MASTERS, (number + 1) * _SLOTS // _MASTERS
            node.ask("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        self._wait_until_complete()

    def grow(self) -> ClusterNode:
        """Add a master that has no slots yet."""
        node = self.add(ClusterNode())
        first = self.nodes[0]
        first.ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        self.nodes.append(node)
        self._wait_until_complete()
        return node

    async def pause(self) -> None:
        await asyncio.gather(*(node.pause() for node in self.nodes))

    async def resume(self) -> None:
        await asyncio.gather(*(node.resume() for node in self.nodes))
        await asyncio.to_thread(self._wait_until_complete)

    async def kill(self) -> None:
        await asyncio.gather(*(node.kill() for node in self.nodes))

    async def start(self) -> None:
        await asyncio.gather(*(node.start() for node in self.nodes))
        await asyncio.to_thread(self._wait_until_complete)

    def _wait_until_complete(self) -> None:
        for node in self.nodes:
            _wait_until(partial(node.knows, len(self.nodes)), "the nodes know one another")


class SentinelServer(RedisServer):
    """Sentinel that starts a failover soon after its master is gone."""

    name = "redis-sentinel"

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self._master = master

    def command(self) -> list[str]:
        # A sentinel needs a writable configuration file.
        file = self.folder / "sentinel.conf"
        if not file.exists():
            file.write_text(
                f"port {self.port}\n"
                "bind 127.0.0.1\n"
                f"dir {self.folder}\n"
                f"sentinel monitor {SERVICE} 127.0.0.1 {self._master.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 500\n"
                f"sentinel failover-timeout {SERVICE} 4000\n"
            )
        return [redis_server_program(), str(file), "--sentinel"]

    def sees_all(self) -> bool:
        """Return whether the sentinel knows the replica and the other sentinels."""
        master = self.ask("SENTINEL", "MASTER", SERVICE)
        others = int(master[b"num-other-sentinels"])
        return int(master[b"num-slaves"]) == 1 and others == _SENTINELS - 1

    def sees_master(self) -> bool:
        """Return whether the master answers the sentinel."""
        flags = self.ask("SENTINEL", "MASTER", SERVICE)[b"flags"]
        return b"down" not in flags and b"disconnected" not in flags

    def master_port(self) -> int:
        """Return the port of the server that is the master now."""
        _, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)


class RedisSentinel(ServerGroup):
    """Master with a replica, and three sentinels."""

    replica_priority = 100

    def __init__(self) -> None:
        super().__init__()
        self.servers: list[RedisServer] = []
        self.sentinels: list[SentinelServer] = []

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def master(self) -> RedisServer:
        """Server that the sentinels name as the master now."""
        port = self.sentinels[0].master_port()
        return next(server for server in self.servers if server.port == port)

    def launch(self) -> None:
        master = self.add(RedisServer())
        following = {
            "replicaof": f"127.0.0.1 {master.port}",
            "replica-priority": str(self.replica_priority),
        }
        replica = self.add(RedisServer(following))
        self.servers = [master, replica]
        self.sentinels = [self.add(SentinelServer(master)) for _ in range(_SENTINELS)]
        for sentinel in self.sentinels:
            _wait_until(sentinel.sees_all, "the sentinels know one another")


class SentinelWithoutFailover(RedisSentinel):
    """Sentinels whose replica never becomes the master, so that no acknowledged write is lost.

    Implements `prism.testing.BackendServer`: the master is what tests take away.
    """

    # A replica of priority 0 is never promoted.
    replica_priority = 0

    async def pause(self) -> None:
        await self.servers[0].pause()

    async def resume(self) -> None:
        await self.servers[0].resume()
        await self._wait_for_sentinels()

    async def kill(self) -> None:
        await self.servers[0].kill()

    async def start(self) -> None:
        await self.servers[0].start()
        await self._wait_for_sentinels()

    async def _wait_for_sentinels(self) -> None:
        for sentinel in self.sentinels:
            await asyncio.to_thread(
                _wait_until, sentinel.sees_master, "the sentinels see the master"
            )


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not true after {TIMEOUT_S:g} s: {what}")
        time.sleep(_POLL_S)
