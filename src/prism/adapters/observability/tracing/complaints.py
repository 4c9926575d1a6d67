"""What OpenTelemetry has to complain about, told now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_LIBRARY = logging.getLogger("opentelemetry")
_EVERY_S = 60.0


class Complaints(logging.Handler):
    """Takes the warnings of the library in, and tells one a minute.

    A collector that is down would otherwise be told of with every attempt, and with
    every span that is dropped meanwhile.

    Args:
        redact: hides secrets in text: of a header that is malformed it quotes the value.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__(logging.WARNING)
        self._redact = redact
        self._told_at_s: float | None = None
        self._untold = 0

    def open(self) -> None:
        """From now on the library's records come here, and nowhere else."""
        _LIBRARY.addHandler(self)
        _LIBRARY.propagate = False

    def close(self) -> None:
        """Undo `open`. Safe more than once."""
        _LIBRARY.removeHandler(self)
        _LIBRARY.propagate = True
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        if self._told_at_s is not None and now_s - self._told_at_s < _EVERY_S:
            self._untold += 1
            return
        untold = {"untold": self._untold} if self._untold else {}
        self._told_at_s, self._untold = now_s, 0
        log.warning("traces may be lost: %s", self._redact(record.getMessage()), extra=untold)
