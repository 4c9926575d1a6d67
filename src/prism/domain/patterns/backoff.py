"""How long to wait before what failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """Capped and exponential, with jitter.

    Attributes:
        first: after the first failure; half of it to all of it.
        most: at most, likewise.
        loop_after: failures in a row that make a crash loop.
        forgiven_after: whoever served as long begins anew.
    """

    first: timedelta = timedelta(milliseconds=200)
    most: timedelta = timedelta(seconds=30)
    loop_after: int = 5
    forgiven_after: timedelta = timedelta(seconds=60)


class Backoff:
    """The failures of one pattern in a row.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        chance: from 0 to 1.
    """

    def __init__(self, policy: BackoffPolicy, chance: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._chance = chance
        self._failures = 0

    @property
    def failures(self) -> int:
        """In a row."""
        return self._failures

    @property
    def looping(self) -> bool:
        """Whether that is a crash loop."""
        return self._failures >= self._policy.loop_after

    def failed(self, served: timedelta) -> timedelta:
        """One more failure, after it had served for a time; how long to wait now."""
        policy = self._policy
        if served >= policy.forgiven_after:
            self._failures = 0
        # Doubled no more often than a float can bear.
        longest = min(policy.first * 2.0 ** min(self._failures, 40), policy.most)
        self._failures += 1
        return longest * (0.5 + self._chance() / 2)

    def forget(self) -> None:
        """Begin anew: somebody has taken it in hand."""
        self._failures = 0
