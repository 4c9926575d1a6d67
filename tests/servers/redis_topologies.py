"""Redis servers together: a Cluster, and a master with a replica and sentinels."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from tests.servers.process import PATIENCE_S, free_port
from tests.servers.redis import RedisServer, redis_server

SERVICE = "prism"

_SLOTS = 16_384
_MASTERS = 3
_SENTINELS = 3
_POLL_S = 0.02


class Together:
    """Servers that are started and closed together."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def launch(self) -> None:
        """Start the servers, and return when they are what they are to be."""
        raise NotImplementedError

    def add(self, server: Any) -> Any:
        """Start one of them."""
        return self._stack.enter_context(server)

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
        # Left to itself the bus takes the port plus 10,000, which may not exist.
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
        """Whether it has met so many nodes, itself included, and knows the slots."""
        info = self.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % nodes in info

    def sees_all(self) -> bool:
        """Whether it knows every node and who has every slot."""
        info = self.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in info and b"cluster_size:%d" % _MASTERS in info


class RedisCluster(Together):
    """Three masters, each with a third of the slots."""

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
        for node in self.nodes:
            _until(node.sees_all, "the cluster is whole")

    def grow(self) -> ClusterNode:
        """Add a master that has no slots yet."""
        node: ClusterNode = self.add(ClusterNode())
        first = self.nodes[0]
        first.ask("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        self.nodes.append(node)
        for each in self.nodes:
            _until(partial(each.knows, len(self.nodes)), "the nodes know one another")
        return node


class SentinelServer(RedisServer):
    """Watches a master, and names another soon after it is gone."""

    name = "redis-sentinel"

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self._master = master

    def command(self) -> list[str]:
        # A file, because a sentinel writes down what it learns.
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
        return [redis_server(), str(file), "--sentinel"]

    def sees_all(self) -> bool:
        """Whether it knows the replica and the other sentinels."""
        told = self.ask("SENTINEL", "MASTER", SERVICE)
        others = int(told[b"num-other-sentinels"])
        return int(told[b"num-slaves"]) == 1 and others == _SENTINELS - 1

    def master_port(self) -> int:
        """Of the server that it names now."""
        _, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)


class RedisSentinel(Together):
    """A master, its replica, and three sentinels that agree on which is which."""

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
        """The one that the sentinels name now."""
        port = self.sentinels[0].master_port()
        return next(server for server in self.servers if server.port == port)

    def launch(self) -> None:
        master = self.add(RedisServer())
        replica = self.add(RedisServer({"replicaof": f"127.0.0.1 {master.port}"}))
        self.servers = [master, replica]
        self.sentinels = [self.add(SentinelServer(master)) for _ in range(_SENTINELS)]
        for sentinel in self.sentinels:
            _until(sentinel.sees_all, "the sentinels know one another")


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(_POLL_S)
