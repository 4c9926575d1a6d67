"""Capped exponential backoff with jitter, between failures and new attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """How long to wait after failures.

    Attributes:
        initial: longest delay after the first failure; each further failure doubles it.
        maximum: longest delay after any number of failures.
        crash_loop_after: number of consecutive failures that make a crash loop.
        reset_after: time of successful service after which the count starts again.
    """

    initial: timedelta = timedelta(milliseconds=200)
    maximum: timedelta = timedelta(seconds=30)
    crash_loop_after: int = 5
    reset_after: timedelta = timedelta(seconds=60)


class Backoff:
    """Counts consecutive failures, and computes the delay after each.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    Args:
        rand: random number from 0 to 1.
    """

    def __init__(self, policy: BackoffPolicy, rand: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._rand = rand
        self._failures = 0

    @property
    def failures(self) -> int:
        """Number of consecutive failures."""
        return self._failures

    @property
    def crash_looping(self) -> bool:
        """Whether there are enough consecutive failures for a crash loop."""
        return self._failures >= self._policy.crash_loop_after

    def next_delay(self, served: timedelta) -> timedelta:
        """Count one more failure, and return a delay from half of the longest one to all of it.

        Args:
            served: time of successful service before this failure.
        """
        policy = self._policy
        if served >= policy.reset_after:
            self._failures = 0
        # The exponent is bounded, or the factor would overflow a float.
        longest = min(policy.initial * 2.0 ** min(self._failures, 40), policy.maximum)
        self._failures += 1
        return longest * (0.5 + self._rand() / 2)

    def reset(self) -> None:
        """Set the count of failures to zero."""
        self._failures = 0
