"""TCP relay between a client and its server: counts round trips, loses and corrupts data."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Container
from types import TracebackType
from typing import Self

from tests.servers.data_frames import DataFrames

_CHUNK = 1 << 20
_IDLE_STEP_S = 0.05


class TcpRelay:
    """TCP relay to a server on loopback.

    Args:
        port: port of the server.
        tls: TLS context of the relay's own port; None: no TLS.
        keepalive: messages that either side may send at any time, and that are not counted.
        idle_timeout_s: seconds without a DATA frame of an HTTP/2 server after which its
            connection is aborted; None: never. While the machine is too busy for this process,
            no time passes.

    Attributes:
        port: port of the relay.
        round_trips: number of times that the client began to send after a reply.
        drop_replies: whether to drop what the server sends.
        silent: whether to drop what either side sends.
        connections: number of connections so far.
        corruption: bytes of the client, and what to send instead of them, once; None: nothing.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        keepalive: Container[bytes] = (),
        idle_timeout_s: float | None = None,
    ) -> None:
        self._server_port = port
        self._keepalive = keepalive
        self._tls = tls
        self._idle_timeout_s = idle_timeout_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.round_trips = 0
        self.drop_replies = False
        self.silent = False
        self.connections = 0
        self._silenced: set[asyncio.StreamWriter] = set()
        self.corruption: tuple[bytes, bytes] | None = None

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._tls)
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

    def abort_connections(self) -> None:
        """Abort every connection of the client."""
        for writer in self._writers:
            writer.transport.abort()

    def silence_connections(self) -> None:
        """Drop what either side sends over the connections that are open now."""
        self._silenced.update(self._writers)

    def _corrupted(self, data: bytes) -> bytes:
        if self.corruption is None or self.corruption[0] not in data:
            return data
        (right, wrong), self.corruption = self.corruption, None
        return data.replace(right, wrong, 1)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        to_server: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        self.connections += 1
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            answered = True
            idle_steps = 0

            async def forward() -> None:
                nonlocal answered
                while data := await reader.read(_CHUNK):
                    if data not in self._keepalive:
                        self.round_trips += answered
                        answered = False
                    if not self._loses(writer):
                        to_server.write(self._corrupted(data))

            async def backward() -> None:
                nonlocal answered, idle_steps
                frames = DataFrames()
                while data := await from_server.read(_CHUNK):
                    answered = answered or data not in self._keepalive
                    if not (self.drop_replies or self._loses(writer)):
                        writer.write(data)
                    if frames.found_in(data):
                        idle_steps = 0

            async def idle(seconds: float) -> None:
                # Counted in steps: a busy machine, which delays the server too, is no silence.
                nonlocal idle_steps
                while idle_steps * _IDLE_STEP_S < seconds:
                    await asyncio.sleep(_IDLE_STEP_S)
                    idle_steps += 1

            directions = [asyncio.create_task(each) for each in (forward(), backward())]
            if self._idle_timeout_s is not None:
                directions.append(asyncio.create_task(idle(self._idle_timeout_s)))
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            self._silenced.discard(writer)
            writer.close()
            if to_server is not None:
                to_server.close()

    def _loses(self, connection: asyncio.StreamWriter) -> bool:
        return self.silent or connection in self._silenced
