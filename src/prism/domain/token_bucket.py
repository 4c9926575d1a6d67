"""Token-bucket rate limiter.

https://en.wikipedia.org/wiki/Token_bucket
"""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """Rate limiter that allows `per_second` events on average, and bursts of `burst` events.

    Args:
        per_second: tokens added each second.
        burst: capacity of the bucket, which is full at the start.
        clock: seconds, never going back.
    """

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at_s = clock()

    def take(self) -> bool:
        """Take a token; return False when the bucket is empty."""
        now_s = self._clock()
        gained = (now_s - self._filled_at_s) * self._per_second
        self._tokens = min(self._tokens + gained, self._burst)
        self._filled_at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
