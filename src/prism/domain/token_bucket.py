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

    @property
    def is_full(self) -> bool:
        """Whether it has as many tokens as it can hold."""
        self._fill()
        return self._tokens >= self._burst

    def take(self) -> bool:
        """Take a token; return False when the bucket is empty."""
        self._fill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def pause_s(self) -> float:
        """Return the seconds until it has a token; 0: it has one."""
        self._fill()
        return max(1 - self._tokens, 0.0) / self._per_second

    def spend(self, tokens: int) -> None:
        """Take tokens, also those that it gets later."""
        self._fill()
        self._tokens -= tokens

    def _fill(self) -> None:
        now_s = self._clock()
        gained = (now_s - self._filled_at_s) * self._per_second
        self._tokens = min(self._tokens + gained, self._burst)
        self._filled_at_s = now_s
