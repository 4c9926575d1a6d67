"""What stands between a driver and its server: counts, and takes replies away."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Container
from types import TracebackType
from typing import Self

_CHUNK = 1 << 20


class Relay:
    """A TCP relay, on a port of its own.

    Args:
        keepalive: what either side may send at any time, which does not count.

    Attributes:
        bursts: how often the client began to send after the server had answered.
        replies_lost: drop what the server says from now on.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        keepalive: Container[bytes] = (),
    ) -> None:
        self._server_port = port
        self._keepalive = keepalive
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.bursts = 0
        self.replies_lost = False

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hang_up(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        to_server: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            answered = True

            async def forth() -> None:
                nonlocal answered
                while data := await reader.read(_CHUNK):
                    if data not in self._keepalive:
                        self.bursts += answered
                        answered = False
                    to_server.write(data)

            async def back() -> None:
                nonlocal answered
                while data := await from_server.read(_CHUNK):
                    answered = answered or data not in self._keepalive
                    if not self.replies_lost:
                        writer.write(data)

            ways = [asyncio.create_task(way) for way in (forth(), back())]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            if to_server is not None:
                to_server.close()
