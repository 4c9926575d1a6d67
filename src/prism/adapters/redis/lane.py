"""Callers in the order they came, and the connection that they share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import redis
from redis.asyncio.connection import AbstractConnection

from prism.adapters.redis.exchange import Exchange
from prism.adapters.redis.failures import NotSent
from prism.adapters.redis.link import Link
from prism.adapters.redis.operations import Reply

_BURST = 32
"""So many callers are sent before the turn of the loop ends, for the server to work on
while the rest is packed: 64 callers that set are half again as fast."""

_TICKS = 20
"""Looks at the clock in the time that an operation has."""

_TICKS_OF_SILENCE = 4
"""From a server that was asked, after which who comes is sent over another connection."""


class Lane:
    """What callers ask for in one turn of the loop leaves in one write.

    A connection is made when somebody waits and there is none. Who waits for it and is
    cancelled, runs out of time or cannot have one is not sent at all.

    Args:
        make: a connection that is not open yet.
        in_flight: exchanges sent and not answered at most; the rest wait.
        timeout_s: that an exchange has, waiting included.
    """

    def __init__(
        self, make: Callable[[], AbstractConnection], *, in_flight: int, timeout_s: float
    ) -> None:
        self._make = make
        self._in_flight = in_flight
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Exchange] = deque()
        self._link: Link | None = None
        self._links: set[Link] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._woken = False
        self._closed = False

    @property
    def connections(self) -> int:
        """Those that are open: one, and those that still answer what they were sent."""
        return len(self._links)

    async def open(self) -> None:
        """Connect; raises what redis-py does."""
        link = Link(
            self._make(), in_flight=self._in_flight, has_room=self._wake, has_ended=self._forget
        )
        await link.open()
        self._links.add(link)
        self._link = link

    async def close(self) -> None:
        """Answer everybody with a failure, and take no more."""
        self._closed = True
        closed = redis.ConnectionError("closed")
        self._turn_away(closed)
        if self._clock is not None:
            self._clock.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        links = list(self._links)
        for link in links:
            link.end(closed)
        for link in links:
            await link.ended.wait()

    async def exchange(self, packed: bytes, count: int) -> list[Reply]:
        """The replies to so many commands, packed together.

        Who is cancelled before they leave has not sent them; after that the replies
        are thrown away when they come.
        """
        loop = self._loop
        deadline = loop.time() + self._timeout_s
        exchange = Exchange(packed, count, loop.create_future(), deadline)
        self._waiting.append(exchange)
        if not self._woken:
            self._wake()
        elif len(self._waiting) == _BURST:
            self._flush()
        return await exchange.outcome

    def _wake(self) -> None:
        # Not at once: those who were just answered may have more to ask.
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._woken = False
        self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._closed:
            self._turn_away(redis.ConnectionError("closed"))
            return
        if self._clock is None:
            self._wind(self._loop.time())
        if self._link is not None and not self._link.is_retired:
            self._link.send(self._waiting)
        elif self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.open()
        except (redis.TimeoutError, TimeoutError):
            # Who came while it was tried has time left for another try.
            pass
        except Exception as error:
            self._turn_away(error)
        finally:
            self._connecting = None
            self._wake()

    def _turn_away(self, failure: Exception) -> None:
        while self._waiting:
            self._waiting.popleft().fail(NotSent.because(failure))

    def _forget(self, link: Link) -> None:
        self._links.discard(link)
        self._wake()

    def _wind(self, now: float) -> None:
        due = now + self._timeout_s / _TICKS
        self._clock = self._loop.call_at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        now = self._loop.time()
        tick = self._timeout_s / _TICKS
        # When it was us who stood still, what was said meanwhile is yet to be read.
        if now - due < tick:
            self._look_at_the_clock(now, tick)
        if self._waiting or not all(link.is_idle for link in self._links):
            self._wind(now)
        else:
            self._clock = None

    def _look_at_the_clock(self, now: float, tick: float) -> None:
        while self._waiting and self._waiting[0].deadline <= now:
            self._waiting.popleft().fail(NotSent.because(TimeoutError()))
        for link in self._links:
            link.time_out(now)
            silence = link.silence(now)
            if silence > self._timeout_s:
                link.end(redis.ConnectionError("silent"))
            elif silence > _TICKS_OF_SILENCE * tick and not link.is_retired:
                link.retire()
                self._wake()
