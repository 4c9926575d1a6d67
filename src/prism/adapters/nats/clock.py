"""The server's clock, as far as it can be told from here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_DRIFT = 1e-4
"""Two quartzes part by less: 0.1 ms a second."""


class ServerClock:
    """Between which offsets from our monotonic clock the server's must be.

    What the server said the time was, it said after we asked and before we heard.
    Each answer narrows the offset to such an interval, all together to what the
    intervals have in common, which widens with time as the clocks drift apart.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._low, self._high = -math.inf, math.inf
        self._at = 0.0

    def observe(self, asked: float, server: float, heard: float) -> None:
        """Take in one answer; all in seconds, the server's since the Unix epoch."""
        drift = (heard - self._at) * _DRIFT
        low = max(self._low - drift, server - heard)
        high = min(self._high + drift, server - asked)
        if low > high:
            # One of the clocks was set: what was known before holds no more.
            low, high = server - heard, server - asked
        self._low, self._high, self._at = low, high, heard

    @property
    def error(self) -> float:
        """Seconds by which `now_ms` may be wrong; infinite before the first answer."""
        drift = (self._monotonic() - self._at) * _DRIFT
        return (self._high - self._low) / 2 + drift

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch by the server's clock."""
        return int((self._monotonic() + (self._low + self._high) / 2) * 1000)
