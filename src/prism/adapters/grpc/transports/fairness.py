"""Turns that callers take, so that nobody's burst of work holds up the calls of others."""

from __future__ import annotations

import asyncio
from collections import deque

_STREAMS_IN_A_TURN = 8


class MessageTurns:
    """Lets large messages be decoded one by one, and small calls be served between them.

    Many large messages that arrive together would hold up all others.

    Args:
        pause_s: time for other calls before each large message.
    """

    def __init__(self, pause_s: float = 0) -> None:
        self._lock = asyncio.Lock()
        self._pause_s = pause_s

    async def take(self) -> None:
        """Wait until no other message is decoded in this turn of the event loop."""
        async with self._lock:
            await asyncio.sleep(self._pause_s)


class StreamTurns:
    """Lets streams begin a few at a time, one connection after another.

    A caller can begin thousands of streams with one packet. Their beginnings are spread over
    turns of the event loop, so that calls of other connections are served between them.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, connection: str) -> None:
        """Wait until a stream of this connection may begin. Cancelling is safe."""
        loop = asyncio.get_running_loop()
        if self._begun < _STREAMS_IN_A_TURN:
            if not self._begun:
                loop.call_soon(self._next_turn, loop)
            self._begun += 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(connection, deque()).append(turn)
        await turn

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun = 0
        while self._waiting and self._begun < _STREAMS_IN_A_TURN:
            connection = next(iter(self._waiting))
            queue = self._waiting.pop(connection)
            turn = queue.popleft()
            if queue:
                # Behind the other connections.
                self._waiting[connection] = queue
            if not turn.done():
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._next_turn, loop)
