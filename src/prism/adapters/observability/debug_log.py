"""Log records as debug events."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prism.adapters.observability.logging import extra_of
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.patterns.values import DebugKind, DebugLevel


class DebugLog(logging.Handler):
    """Adds an event for each record of INFO and above.

    Whatever sends the events must log nothing for each, or it would never be done.

    Args:
        redact: hides what is secret.
    """

    def __init__(self, events: DebugEventBuffer, redact: Callable[[str], str]) -> None:
        super().__init__(logging.INFO)
        self._events = events
        self._redact = redact

    def emit(self, record: logging.LogRecord) -> None:
        try:
            details = {
                key: self._redact(str(value))
                for key, value in extra_of(record).items()
                if value is not None
            }
            details["logger"] = record.name
            if record.exc_info and record.exc_info[0] is not None:
                details["error"] = record.exc_info[0].__name__
            message = self._redact(record.getMessage())
            self._events.add(_level(record.levelno), DebugKind.LOG, message, details)
        except Exception:
            # As every handler does: whoever logs is not to fail.
            self.handleError(record)


def _level(number: int) -> DebugLevel:
    if number >= logging.ERROR:
        return DebugLevel.ERROR
    return DebugLevel.WARNING if number >= logging.WARNING else DebugLevel.INFO
