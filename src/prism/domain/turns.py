"""Turns of the event loop, shared among connections: no connection's work holds up the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

_LONG_S = 0.01

_FIRST, _MOST = 8, 32
"""Waiting pieces of work that begin in one turn: at first, and at most."""


class Turns:
    """Lets work begin while a turn of the event loop is young, and in later turns otherwise.

    A caller can ask for more with one packet than the server can do in a second. What does not
    begin in the same turn waits, and begins one connection after another, so that a
    connection that asks for little waits for one piece of work of each other connection. The
    number of pieces for each turn follows the time that they take.

    Attributes:
        slice_s: time of one turn after which no more work begins in it.
        pause_s: time between two turns while work waits. A transport sets it if what it does
            for a call needs more than the event loop.
    """

    def __init__(self) -> None:
        self.slice_s = 0.002
        self.pause_s = 0.0
        # Zero until work begins in a turn of the loop.
        self._ends = 0.0
        self._per_turn = _FIRST
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def has_time(self) -> bool:
        """Return whether more work may begin in this turn of the loop."""
        now = perf_counter()
        if not self._ends:
            self._open(now)
        return now < self._ends and not self._waiting

    def call_later(self, connection: str, begin: Callable[[], None]) -> None:
        """Call `begin` in a later turn of the loop, when it is the turn of this connection."""
        if not self._ends:
            self._open(perf_counter())
        queue = self._waiting.get(connection)
        if queue is None:
            queue = self._waiting[connection] = deque()
        queue.append(begin)

    async def wait(self, connection: str) -> None:
        """Wait for a later turn of the loop. Cancelling is safe."""
        turn = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not turn.done():
                turn.set_result(None)

        self.call_later(connection, begin)
        await turn

    def _open(self, now: float) -> None:
        self._ends = now + self.slice_s
        asyncio.get_running_loop().call_soon(self._close)

    def _close(self) -> None:
        """End a turn, after the work that began in it."""
        if not self._waiting:
            self._ends = 0.0
            return
        took_s = perf_counter() - self._ends + self.slice_s
        fitting = int(self._per_turn * self.slice_s / took_s)
        self._per_turn = max(min(fitting, self._per_turn * 2, _MOST), 1)
        if self.pause_s:
            asyncio.get_running_loop().call_later(self.pause_s, self._next_turn)
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        waiting = self._waiting
        for _ in range(self._per_turn):
            if not waiting:
                break
            connection = next(iter(waiting))
            queue = waiting.pop(connection)
            begin = queue.popleft()
            if queue:
                # Behind the other connections.
                waiting[connection] = queue
            begin()
        self._open(perf_counter())


class MessageTurns:
    """Lets large messages be decoded one by one, and other calls be served between them.

    Many large messages that arrive together would hold up all others. One that takes long to
    decode, because it has many small parts, is followed by a pause of the same length.

    Args:
        pause_s: time for other calls before each large message.
    """

    def __init__(self, pause_s: float = 0) -> None:
        self._lock = asyncio.Lock()
        self._pause_s = pause_s
        self._began = self._next = 0.0

    async def take(self) -> None:
        """Wait until a large message may be decoded, in this turn of the loop."""
        async with self._lock:
            self._measure()
            await asyncio.sleep(max(self._next - perf_counter(), self._pause_s))
            self._began = perf_counter()
            asyncio.get_running_loop().call_soon(self._measure)

    def _measure(self) -> None:
        if not self._began:
            return
        now = perf_counter()
        took_s = now - self._began
        self._began = 0.0
        if took_s > _LONG_S:
            self._next = now + took_s
