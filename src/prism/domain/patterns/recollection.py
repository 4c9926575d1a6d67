"""What one process told of itself last."""

from __future__ import annotations

from collections import deque

from prism.domain.patterns.values import DebugEvent

KEPT = 200
KEPT_BYTES = 512 << 10
"""Of their text, so that all of it fits into one answer."""

_EACH_BYTES = 64


class Recollection:
    """Debug events, bounded in number and in bytes; the oldest go."""

    def __init__(self) -> None:
        self._events: deque[tuple[DebugEvent, int]] = deque()
        self._bytes = 0

    @property
    def events(self) -> tuple[DebugEvent, ...]:
        """Oldest first."""
        return tuple(event for event, _ in self._events)

    def add(self, event: DebugEvent) -> None:
        """Keep it, and as many of those before as there is room for."""
        size = _bytes_of(event)
        self._events.append((event, size))
        self._bytes += size
        while len(self._events) > KEPT or self._bytes > KEPT_BYTES:
            self._bytes -= self._events.popleft()[1]


def _bytes_of(event: DebugEvent) -> int:
    texts = [event.message]
    for pair in event.details.items():
        texts += pair
    # Each text and the event itself have some bytes of framing.
    return sum(len(text.encode("utf-8", "replace")) + _EACH_BYTES for text in texts)
