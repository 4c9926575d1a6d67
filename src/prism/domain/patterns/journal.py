"""Journals: the events of all patterns, which are logged, and the debug events of one process."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from prism.domain.patterns.values import DebugEvent, EventKind, PatternEvent
from prism.domain.redaction import Redact

log = logging.getLogger("prism.patterns")

MAX_EVENTS = 1000
MAX_DEBUG_EVENTS = 200
MAX_DEBUG_BYTES = 512 << 10
"""Bytes of text in the debug events of one process, so that all fit into one reply."""

_FRAMING_BYTES = 64

_LEVELS = {
    EventKind.REFUSED: logging.ERROR,
    EventKind.FAILED: logging.ERROR,
    EventKind.CRASH_LOOP: logging.ERROR,
    EventKind.LOST: logging.WARNING,
    EventKind.BACKING_OFF: logging.WARNING,
    EventKind.HEALTH: logging.WARNING,
    EventKind.KEPT: logging.WARNING,
}


class Journal:
    """The latest events of all patterns, in one sequence.

    Args:
        redact: removes secrets from messages and details.
    """

    def __init__(self, redact: Redact = str) -> None:
        self._redact = redact
        self._events: deque[PatternEvent] = deque(maxlen=MAX_EVENTS)
        self._sequence = 0
        self._subscribers: set[Callable[[PatternEvent], None]] = set()

    def add(
        self, pattern: str, kind: EventKind, message: str, details: Mapping[str, str] | None = None
    ) -> None:
        """Record an event, and pass it to the subscribers."""
        self._sequence += 1
        redacted = {name: self._redact(text) for name, text in (details or {}).items()}
        event = PatternEvent(
            self._sequence, datetime.now(UTC), pattern, kind, self._redact(message), redacted
        )
        self._events.append(event)
        for subscriber in tuple(self._subscribers):
            subscriber(event)

    def events(self, pattern: str = "") -> list[PatternEvent]:
        """Return the recorded events of one pattern or, without a name, of all; oldest first."""
        return [event for event in self._events if pattern in ("", event.pattern)]

    def subscribe(self, subscriber: Callable[[PatternEvent], None]) -> Callable[[], None]:
        """Call the subscriber with each new event; return a function that ends this."""
        self._subscribers.add(subscriber)
        return lambda: self._subscribers.discard(subscriber)


def log_events(journal: Journal) -> Journal:
    """Log each new event of the journal, and return the journal."""
    journal.subscribe(_log)
    return journal


def _log(event: PatternEvent) -> None:
    fields: dict[str, object] = {
        "pattern": event.pattern,
        "event": event.kind,
        "sequence": event.sequence,
    }
    if event.details:
        fields["details"] = event.details
    level = _LEVELS.get(event.kind, logging.INFO)
    kind = event.kind.replace("_", " ")
    log.log(level, "pattern %s: %s: %s", event.pattern, kind, event.message, extra=fields)


class DebugHistory:
    """The latest debug events of one process, bounded in number and in bytes."""

    def __init__(self) -> None:
        self._events: deque[tuple[DebugEvent, int]] = deque()
        self._bytes = 0

    @property
    def events(self) -> tuple[DebugEvent, ...]:
        """The events, oldest first."""
        return tuple(event for event, _ in self._events)

    def add(self, event: DebugEvent) -> None:
        """Record an event; the oldest events make room."""
        size = _bytes_of(event)
        self._events.append((event, size))
        self._bytes += size
        while len(self._events) > MAX_DEBUG_EVENTS or self._bytes > MAX_DEBUG_BYTES:
            self._bytes -= self._events.popleft()[1]


def _bytes_of(event: DebugEvent) -> int:
    texts = [event.message, *event.details.keys(), *event.details.values()]
    return sum(len(text.encode("utf-8", "replace")) + _FRAMING_BYTES for text in texts)
