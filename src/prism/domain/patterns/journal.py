"""What has happened to patterns: the latest of it kept, and told to whoever follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prism.domain.patterns.values import EventKind, PatternEvent
from prism.domain.redaction import Redact

KEPT = 1000


class Journal:
    """One sequence of events over all patterns, bounded in number.

    Args:
        redact: hides secrets in the words of each.
    """

    def __init__(self, redact: Redact = str) -> None:
        self._redact = redact
        self._events: deque[PatternEvent] = deque(maxlen=KEPT)
        self._sequence = 0
        self._followers: set[Callable[[PatternEvent], None]] = set()

    def add(
        self, pattern: str, kind: EventKind, message: str, details: Mapping[str, str] | None = None
    ) -> None:
        """Record one, and tell it."""
        self._sequence += 1
        told = {name: self._redact(text) for name, text in (details or {}).items()}
        event = PatternEvent(
            self._sequence, datetime.now(UTC), pattern, kind, self._redact(message), told
        )
        self._events.append(event)
        for follower in tuple(self._followers):
            follower(event)

    def events(self, pattern: str = "") -> list[PatternEvent]:
        """What is remembered, oldest first; of one pattern, or of all."""
        return [event for event in self._events if pattern in ("", event.pattern)]

    def follow(self, follower: Callable[[PatternEvent], None]) -> Callable[[], None]:
        """Call the follower with each event from now on, until what is returned is called."""
        self._followers.add(follower)
        return lambda: self._followers.discard(follower)
