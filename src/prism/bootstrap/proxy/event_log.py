"""Writes the events of patterns to the proxy's log."""

from __future__ import annotations

import logging

from prism.domain.patterns.journal import Journal
from prism.domain.patterns.values import EventKind, PatternEvent

log = logging.getLogger("prism.patterns")

_LEVELS = {
    EventKind.REFUSED: logging.ERROR,
    EventKind.FAILED: logging.ERROR,
    EventKind.CRASH_LOOP: logging.ERROR,
    EventKind.LOST: logging.WARNING,
    EventKind.BACKING_OFF: logging.WARNING,
    EventKind.HEALTH: logging.WARNING,
    EventKind.KEPT: logging.WARNING,
}


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
