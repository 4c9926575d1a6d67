"""Turns and shares: no connection's work holds up that of the others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

_MOST_KEPT = 4096
"""Number of connections above which the times of those that have used little are forgotten."""

SHARE_S = 0.0005
"""Time after which a connection with much work gives way to those that wait."""

_CREDIT_S = 0.02
"""Unused time that a connection keeps, so that one that asks for little goes ahead each time."""

_LONG_S = 0.01

_FIRST, _MOST = 8, 64
"""Tasks that are woken in one turn: at first, and at most."""

_CROWD, _MOST_PAUSES = 128, 60
"""With more waiting pieces of work, a pause is repeated while more arrive, this often at most."""

_PAUSE_STEPS = 6
"""Turns of the loop in a pause, at least: replies from elsewhere can take up the time of one."""

_MESSAGE_WEIGHT, _MOST_WEIGHT = 2 << 10, 16 << 10
"""What a message weighs beside its bytes, and what a stream reads before it looks at the time."""


class Turns:
    """Lets work begin in the first part of a turn of the event loop, or else in a later turn.

    One packet of a caller can ask for more work than the server does in a second. Work that does
    not fit into a turn waits for a later one. The waiting connection whose work has taken the least
    time so far begins next: a connection that asks for little goes ahead of any number that ask for
    much. As many pieces of work begin in a turn as fit into it.

    The order is that of a fair scheduler: https://docs.kernel.org/scheduler/sched-design-CFS.html

    Attributes:
        slice_s: time of one turn after which no more work begins in it.
        pause_s: time between two turns while work waits. A transport sets it if it needs turns
            of the loop to take the calls that arrive.
    """

    def __init__(self) -> None:
        self.slice_s = 0.005
        self.pause_s = 0.0
        # Zero until work begins in a turn of the loop.
        self._began = self._ends = 0.0
        self._lap_began = 0.0
        self._has_woken = False
        self._waiting = self._woken = 0
        self._most_woken = _FIRST
        self._queues: dict[str, deque[Callable[[], None]]] = {}
        # Connections with a queue, by the time that their work has taken.
        self._order: list[tuple[float, int, str]] = []
        self._places = count()
        # Kept while there are queues. A new connection begins a little below the least time.
        self._taken_s: dict[str, float] = {}
        self._least_s = 0.0
        # Connections whose work began in this turn.
        self._begun: set[str] = set()

    def has_time(self) -> bool:
        """Return whether more work may begin in this turn of the loop."""
        now = perf_counter()
        if not self._ends:
            self._open(now)
        return now < self._ends and not self._queues

    def call_later(
        self, connection: str, begin: Callable[[], None], *, expected_s: float = 0.0
    ) -> None:
        """Call `begin`, which does the work, in a later turn, that of this connection.

        Args:
            expected_s: time charged in advance to a connection that did not wait before.
        """
        if not self._ends:
            self._open(perf_counter())
        queue = self._queues.get(connection)
        if queue is None:
            queue = self._queues[connection] = deque()
            if connection not in self._taken_s:
                self._charge(connection, expected_s)
            if connection not in self._begun:
                self._enter(connection)
        queue.append(begin)
        self._waiting += 1

    def wake_later(
        self, connection: str, wake: Callable[[], None], *, expected_s: float = 0.0
    ) -> None:
        """Call `wake` as `call_later` does, for work that a task does after it."""

        def begin() -> None:
            self._has_woken = True
            wake()

        self.call_later(connection, begin, expected_s=expected_s)

    async def wait(self, connection: str) -> None:
        """Wait for a later turn of the loop. Cancelling is safe."""
        turn = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not turn.done():
                turn.set_result(None)

        self.wake_later(connection, wake)
        await turn

    def _enter(self, connection: str) -> None:
        """Give a connection with a queue its place in the order."""
        taken_s = max(self._taken_s[connection], self._least_s - _CREDIT_S)
        heappush(self._order, (taken_s, next(self._places), connection))

    def _open(self, now: float) -> None:
        """Begin a turn of the loop; what is scheduled before `_close` belongs to it."""
        self._began = now
        self._ends = now + self.slice_s
        asyncio.get_running_loop().call_soon(self._close)

    def _close(self) -> None:
        """End a turn, after the work that began in it."""
        begun, self._begun = self._begun, set()
        if not self._queues:
            self._ends = self._least_s = 0.0
            self._taken_s.clear()
            return
        took_s = max(perf_counter() - self._began, 1e-6)
        for connection in begun:
            if connection in self._queues:
                self._enter(connection)
        # The least time grows as if all connections had an equal part. Otherwise a series of new
        # connections would always go first.
        self._least_s += took_s / len(self._queues)
        if self._woken:
            fitting = int(self._most_woken * self.slice_s / took_s)
            self._most_woken = max(min(fitting, self._most_woken * 2, _MOST), 1)
        if len(self._taken_s) > _MOST_KEPT:
            least_s = self._least_s - _CREDIT_S
            self._taken_s = {
                name: taken_s
                for name, taken_s in self._taken_s.items()
                if taken_s > least_s or name in self._queues
            }
        if self.pause_s:
            self._pause(self._waiting, 1)
        else:
            self._next_turn()

    def _pause(self, before: int, step: int) -> None:
        """Let the transport do its part for the calls that arrive."""
        loop = asyncio.get_running_loop()
        loop.call_later(self.pause_s / _PAUSE_STEPS, self._end_step, before, step)

    def _end_step(self, before: int, step: int) -> None:
        if step % _PAUSE_STEPS:
            self._pause(before, step + 1)
        # Behind a burst of calls, one of a connection that asks for little may be about to arrive.
        elif self._waiting > max(_CROWD, before) and step < _PAUSE_STEPS * _MOST_PAUSES:
            self._pause(self._waiting, step + 1)
        else:
            self._next_turn()

    def _next_turn(self) -> None:
        """Begin the work that waits: as much as fits into one turn.

        Some work runs here, inside the call of `begin`. Tasks that are woken run later, between
        `_mark` and `_close`, each before a call of `_lap`.
        """
        loop = asyncio.get_running_loop()
        loop.call_soon(self._mark)
        self._began = self._lap_began = perf_counter()
        self._woken = 0
        again = deque[str]()
        while self._lap_began - self._began < self.slice_s and self._woken < self._most_woken:
            if self._order:
                taken_s, _, connection = heappop(self._order)
                self._least_s = max(self._least_s, taken_s)
            elif again:
                connection = again.popleft()
            else:
                break
            queue = self._queues[connection]
            begin = queue.popleft()
            self._waiting -= 1
            self._begun.add(connection)
            if queue:
                again.append(connection)
            else:
                del self._queues[connection]
            begin()
            self._lap(connection)
            if self._has_woken:
                self._has_woken = False
                self._woken += 1
                loop.call_soon(self._lap, connection)
        self._ends = self._began + self.slice_s
        loop.call_soon(self._close)

    def _mark(self) -> None:
        self._lap_began = perf_counter()

    def _lap(self, connection: str) -> None:
        """Charge a connection with the time since the last call."""
        now = perf_counter()
        self._charge(connection, now - self._lap_began)
        self._lap_began = now

    def _charge(self, connection: str, took_s: float) -> None:
        least_s = self._least_s - _CREDIT_S
        self._taken_s[connection] = max(self._taken_s.get(connection, least_s), least_s) + took_s


class Pace:
    """Tells a stream when to give way: after a few messages that came together.

    Reading a message that has arrived already does not pause the task. A stream of empty messages
    that come as fast as they are read would otherwise stop the event loop.
    """

    __slots__ = ("_turns", "_weight")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._weight = 0

    def must_wait(self, size: int) -> bool:
        """Return whether the stream must wait for a later turn, after a message of this size."""
        self._weight += size + _MESSAGE_WEIGHT
        if self._weight < _MOST_WEIGHT:
            return False
        self._weight = 0
        return not self._turns.has_time()


class MessageTurns:
    """Turns for large messages: one is decoded at a time, and other calls are served in between.

    Many large messages that arrive together would hold up all other calls. A message that takes
    long to decode, because it has many small parts, is followed by a pause of the same length.

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


class Shares:
    """Bound on the work that each connection has in progress; its further work waits in order.

    Args:
        most: pieces of work that a connection may have in progress at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def take(self, connection: str) -> bool:
        """Take a place of this connection, until `release`; return False if none is free."""
        taken = self._taken.get(connection, 0)
        if taken >= self._most:
            return False
        self._taken[connection] = taken + 1
        return True

    async def wait(self, connection: str) -> None:
        """Wait for a place of this connection, and take it. Cancelling is safe."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(connection, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                self._forget(connection, place)
            else:
                # The place was given in the same turn of the loop.
                self.release(connection)
            raise

    def release(self, connection: str) -> None:
        """Give a place back, to the work that has waited longest."""
        while (queue := self._waiting.get(connection)) is not None:
            place = queue[0]
            self._forget(connection, place)
            # A wait that was cancelled in this turn of the loop has not run since.
            if not place.cancelled():
                place.set_result(None)
                return
        taken = self._taken[connection] - 1
        if taken:
            self._taken[connection] = taken
        else:
            del self._taken[connection]

    def _forget(self, connection: str, place: asyncio.Future[None]) -> None:
        """Remove a place from the queue of its connection, if it is there."""
        queue = self._waiting.get(connection)
        if queue is not None and place in queue:
            queue.remove(place)
            if not queue:
                del self._waiting[connection]
