"""Consumers that stopped where a page ended, and can go on where the next begins.

To make one costs the server a count of all the keys ahead of it, which would make a scan
of many pages quadratic.
"""

from __future__ import annotations

import time
from typing import NamedTuple

ABANDONED_AFTER_S = 30
"""The server drops a consumer that nobody asks for so long."""

_KEPT_FOR_S = 20.0
_MOST_KEPT = 256


class Place(NamedTuple):
    """Where a consumer is: the subjects it delivers, how, and from which sequence on."""

    subjects: str
    headers_only: bool
    sequence: int


class Consumers:
    """By where they are; lost with the link, which only costs making new ones."""

    def __init__(self) -> None:
        self._kept: dict[Place, tuple[str, float]] = {}

    def take(self, place: Place) -> str | None:
        """The name of the one that is there, for this page alone."""
        name, since = self._kept.pop(place, (None, 0.0))
        return name if time.monotonic() - since < _KEPT_FOR_S else None

    def keep(self, place: Place, name: str) -> None:
        """Have it found when a page begins there."""
        while len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[place] = (name, time.monotonic())
