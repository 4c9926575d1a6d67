"""How many bytes may be on their way at once.

The server hangs up on a client that leaves its `max_pending` unread, 64 MiB unless it is
set, and refuses writes when 128 MiB of them wait: large values have to queue here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from prism.adapters.nats.link import Link
from prism.ports import BackendTimeout, Outcome

AnswerT = TypeVar("AnswerT")

# The server counts what it is writing until all of that is written, and what was asked
# for meanwhile besides: so less than half of its limit.
MOST_ANSWERED = 30 << 20
MOST_PUBLISHED = 64 << 20

_OF_LATE = 16


class Sizes:
    """What one answer is expected to take, by those of late; outlives a link.

    The mean, since it is their sum that counts. When small values are suddenly all large
    the server may hang up once, and the next link knows.

    Attributes:
        expected: bytes.
    """

    def __init__(self) -> None:
        self.expected = 0.0

    def note(self, size: int) -> None:
        """Take in one value, read or written."""
        self.expected += (size - self.expected) / _OF_LATE

    def at_least(self, average: float) -> None:
        """Take in the mean of all that the bucket has."""
        self.expected = max(self.expected, average)


class _Waiting(NamedTuple):
    size: int
    turn: asyncio.Future[None]


class Room:
    """Room for so many bytes, given out in the order it was asked for."""

    def __init__(self, most: int, link: Link) -> None:
        self._most = most
        self._left = most
        self._link = link
        self._queue: deque[_Waiting] = deque()

    async def within(self, size: int, ask: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """What `ask` answers, called when there is room for so many bytes.

        Raises:
            BackendTimeout: there was none in time; nothing was asked.
        """
        if not self.takes(size):
            await self.turn(size)
        try:
            return await ask()
        finally:
            self.give_back(size)

    def takes(self, size: int) -> bool:
        """Whether there is room for so many bytes at once; they are taken then."""
        size = min(size, self._most)
        if self._queue or self._left < size:
            return False
        self._left -= size
        return True

    async def turn(self, size: int) -> None:
        """Take so many bytes as soon as it is our turn; raises as `within` does."""
        size = min(size, self._most)
        waiting = _Waiting(size, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        try:
            async with asyncio.timeout(self._link.timeout_s):
                await waiting.turn
        except BaseException as error:
            # It may have come at the same time.
            self.give_back(0 if waiting.turn.cancelled() else size)
            if isinstance(error, TimeoutError):
                raise BackendTimeout(
                    f"{self._link.address} did not get to it within {self._link.timeout_s:g} s",
                    outcome=Outcome.NOT_APPLIED,
                ) from None
            raise

    def give_back(self, size: int) -> None:
        """Let those who wait have what was taken."""
        self._left += min(size, self._most)
        while self._queue:
            waiting = self._queue[0]
            if not waiting.turn.cancelled():
                if waiting.size > self._left:
                    return
                self._left -= waiting.size
                waiting.turn.set_result(None)
            self._queue.popleft()
