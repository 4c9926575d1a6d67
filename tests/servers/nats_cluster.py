"""Cluster of three NATS servers."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import nats
import nats.errors

from tests.servers.nats import NatsServer
from tests.servers.process import TIMEOUT_S, free_port

SIZE = 3


class NatsCluster:
    """Context manager that starts the servers and waits until they work together."""

    def __init__(self) -> None:
        routes = [free_port() for _ in range(SIZE)]
        self.servers = [
            NatsServer(
                {
                    "server_name": f"n{number}",
                    "cluster": {
                        "name": "prism",
                        "listen": f"127.0.0.1:{port}",
                        "routes": [f"nats://127.0.0.1:{each}" for each in routes],
                    },
                }
            )
            for number, port in enumerate(routes)
        ]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers)

    def named(self, name: str) -> NatsServer:
        """Return the server with that name."""
        return self.servers[int(name.removeprefix("n"))]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            asyncio.run(self._wait_until_complete())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    async def _wait_until_complete(self) -> None:
        """Wait until a stream can be placed on every server."""
        deadline = time.monotonic() + TIMEOUT_S
        async with await nats.connect(self.servers[0].url) as client:
            jetstream = client.jetstream()
            while True:
                try:
                    await jetstream.add_stream(name="probe", subjects=["probe"], num_replicas=SIZE)
                except nats.errors.Error:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.05)
                else:
                    await jetstream.delete_stream("probe")
                    return
