"""Bounds on the bytes that are in flight to and from the server.

The server closes the connection of a client that leaves `max_pending` bytes unread (64 MiB by
default), and refuses writes when 128 MiB of them wait. Large values therefore queue in the driver.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from prism.adapters.nats import errors
from prism.ports import Outcome

AnswerT = TypeVar("AnswerT")

# The server counts a batch of answers until the whole batch is written, and meanwhile counts
# what was requested after it: so the budget is less than half of `max_pending`.
MAX_READ_BYTES = 30 << 20
MAX_WRITTEN_BYTES = 64 << 20

_RECENT_VALUES = 16


class ValueSizeEstimate:
    """Expected size of one value: a moving average over the recent ones.

    An average, since the sum of many answers counts. When values suddenly become large, the
    server may close the connection once; the estimate is kept for the next connection.

    Attributes:
        expected_bytes: the estimate.
    """

    def __init__(self) -> None:
        self.expected_bytes = 0.0

    def observe(self, size: int) -> None:
        """Include the size of a value that was read or written."""
        self.expected_bytes += (size - self.expected_bytes) / _RECENT_VALUES

    def raise_to(self, average: float) -> None:
        """Raise the estimate to the average over the whole bucket, if that is larger."""
        self.expected_bytes = max(self.expected_bytes, average)


class _Waiter(NamedTuple):
    size: int
    granted: asyncio.Future[None]


class ByteBudget:
    """Budget of bytes in flight, granted in the order of the requests.

    A request for more than the whole budget gets all of it.

    Args:
        max_bytes: the whole budget.
        timeout_s: longest time to wait for a share of it.
        address: the server, for error texts.
    """

    def __init__(self, max_bytes: int, timeout_s: float, address: str) -> None:
        self._max_bytes = max_bytes
        self._free = max_bytes
        self._timeout_s = timeout_s
        self._address = address
        self._waiters: deque[_Waiter] = deque()

    async def run(self, size: int, request: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        """Await `request()` while holding `size` bytes of the budget; return its result.

        Raises:
            BackendTimeout: the budget was in use for too long; nothing was requested.
        """
        if not self.try_acquire(size):
            await self.acquire(size)
        try:
            return await request()
        finally:
            self.release(size)

    def try_acquire(self, size: int) -> bool:
        """Take `size` bytes if they are free at once and no one waits; return whether."""
        size = min(size, self._max_bytes)
        if self._waiters or self._free < size:
            return False
        self._free -= size
        return True

    async def acquire(self, size: int) -> None:
        """Wait for `size` bytes and take them; raises as `run` does."""
        size = min(size, self._max_bytes)
        waiter = _Waiter(size, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiter.granted
        except BaseException as error:
            # The grant may arrive together with the cancellation.
            self.release(0 if waiter.granted.cancelled() else size)
            if isinstance(error, TimeoutError):
                raise errors.waited_too_long(
                    self._address, self._timeout_s, Outcome.NOT_APPLIED
                ) from None
            raise

    def release(self, size: int) -> None:
        """Return `size` bytes to the budget, and grant what the next waiters asked for."""
        self._free += min(size, self._max_bytes)
        while self._waiters:
            waiter = self._waiters[0]
            if not waiter.granted.cancelled():
                if waiter.size > self._free:
                    return
                self._free -= waiter.size
                waiter.granted.set_result(None)
            self._waiters.popleft()
