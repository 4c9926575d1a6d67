"""Expiry of keys: ttl rounding, the headers that carry it, and the estimate of the server's clock.

The server removes a message up to a second after its expiry. A header of Prism's own therefore
holds the expiry in milliseconds, and the driver hides the key until the server removes it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

SERVER_TTL = "Nats-TTL"
"""Whole seconds after which the server removes the message."""

TTL_MS = "Prism-TTL"
"""Milliseconds to live, counted from the server's timestamp of the message."""

EXPIRES_AT_MS = "Prism-Expires-At"
"""Milliseconds since the Unix epoch: an expiry that an earlier message of the key began."""

_MAX_DRIFT = 1e-4
"""Bound on the drift between two quartz clocks: 0.1 ms per second."""

_GO_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)(?:\.\d+)?s)?")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")
_MILLISECOND = timedelta(milliseconds=1)


def ttl_headers(ttl: timedelta) -> dict[str, str]:
    """Return the headers of a message that expires `ttl` after the server stores it.

    The ttl is rounded up: to a millisecond for Prism, to a second for the server.
    """
    ttl_ms = round_up_ms(ttl)
    return {SERVER_TTL: str(-(-ttl_ms // 1000)), TTL_MS: str(ttl_ms)}


def expires_at_headers(expires_at_ms: int, clock: ServerClock) -> dict[str, str]:
    """Return the headers of a message that keeps the expiry of the message before it."""
    # The clock is an estimate: its error is added, so that the server never removes the key early.
    left_ms = expires_at_ms - clock.now_ms() + int(clock.error_s * 1000) + 1
    return {SERVER_TTL: str(max(-(-left_ms // 1000), 1)), EXPIRES_AT_MS: str(expires_at_ms)}


def expiry_in(headers: Mapping[str, str], written_ms: int) -> int | None:
    """Return when a message with these headers expires; None: never.

    Args:
        written_ms: the server's timestamp of the message, in milliseconds since the Unix epoch.
    """
    if at_ms := _number(headers.get(EXPIRES_AT_MS)):
        return at_ms
    if ttl_ms := _number(headers.get(TTL_MS)):
        return written_ms + ttl_ms
    # Other clients set the server's header alone: seconds, or a duration as Go formats it.
    text = headers.get(SERVER_TTL, "")
    if seconds := _number(text):
        return written_ms + seconds * 1000
    if text and (match := _GO_DURATION.fullmatch(text)):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return written_ms + ((hours * 60 + minutes) * 60 + seconds) * 1000
    return None


def round_up_ms(duration: timedelta) -> int:
    """Return the duration in milliseconds, rounded up."""
    return -(-duration // _MILLISECOND)


def epoch_ms(timestamp: str) -> int:
    """Return a timestamp of the server in milliseconds since the Unix epoch, rounded up."""
    # `fromisoformat` drops all digits after the microseconds.
    return round_up_ms(_since_epoch(timestamp) + timedelta(microseconds=1))


def epoch_s(timestamp: str) -> float:
    """Return a timestamp of the server in seconds since the Unix epoch."""
    return _since_epoch(timestamp).total_seconds()


class ServerClock:
    """Estimate of the server's clock, with a bound on its error.

    The server reads its clock between our request and its answer. Each answer therefore bounds
    the offset between the server's clock and our monotonic clock to an interval. The estimate
    is the middle of the intersection of all intervals, which widens with the clocks' drift.

    Args:
        monotonic: clock to compare the server's with, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._low, self._high = -math.inf, math.inf
        self._observed_at = 0.0

    def observe(self, asked_s: float, server_s: float, answered_s: float) -> None:
        """Narrow the estimate: the server's clock said `server_s`, in seconds since the Unix epoch.

        Args:
            asked_s: monotonic time of the request.
            answered_s: monotonic time of the answer.
        """
        drift = (answered_s - self._observed_at) * _MAX_DRIFT
        low = max(self._low - drift, server_s - answered_s)
        high = min(self._high + drift, server_s - asked_s)
        if low > high:
            # One of the clocks was set: earlier answers do not count any more.
            low, high = server_s - answered_s, server_s - asked_s
        self._low, self._high, self._observed_at = low, high, answered_s

    @property
    def error_s(self) -> float:
        """Bound on the error of `now_ms`, in seconds; infinite before the first answer."""
        drift = (self._monotonic() - self._observed_at) * _MAX_DRIFT
        return (self._high - self._low) / 2 + drift

    def now_ms(self) -> int:
        """Return the server's time in milliseconds since the Unix epoch."""
        return int((self._monotonic() + (self._low + self._high) / 2) * 1000)


def _since_epoch(timestamp: str) -> timedelta:
    return datetime.fromisoformat(timestamp) - _EPOCH


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
