"""Requests that failed lately."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

KEPT = 20
OF_ONE_CODE = 5
"""Of one method and code: messages may quote callers, and none may drive out the others."""


class Failure(NamedTuple):
    """Requests that failed in one way.

    Attributes:
        code: of the status.
        times: how often it came up.
        last: when it did so last, in Unix time.
    """

    path: str
    code: int
    message: str
    times: int
    last: float


class RecentFailures:
    """The latest kinds of failure.

    Args:
        clock: Unix time.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # A backend that is away is one kind, and drives out no other.
        self._failures: dict[tuple[str, int, str], Failure] = {}

    def __iter__(self) -> Iterator[Failure]:
        """From the latest on."""
        return reversed(self._failures.values())

    def failed(self, path: str, code: int, message: str) -> None:
        """A request was answered with this status."""
        kind = (path, code, message)
        known = self._failures.pop(kind, None)
        if known is None:
            self._make_room(path, code)
        times = 1 if known is None else known.times + 1
        self._failures[kind] = Failure(*kind, times, self._clock())

    def _make_room(self, path: str, code: int) -> None:
        alike = [kind for kind in self._failures if kind[:2] == (path, code)]
        if len(alike) == OF_ONE_CODE:
            del self._failures[alike[0]]
        elif len(self._failures) == KEPT:
            del self._failures[next(iter(self._failures))]
