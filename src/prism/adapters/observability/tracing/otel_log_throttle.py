"""Limits the warnings that OpenTelemetry logs to one a minute."""

from __future__ import annotations

import logging
import os
import time

from prism.adapters.observability.tracing.environment import proxy_variable
from prism.domain.redaction import Redact

log = logging.getLogger(__name__)

_OPENTELEMETRY = logging.getLogger("opentelemetry")
_INTERVAL_S = 60.0


class OtelLogThrottle(logging.Handler):
    """Log handler that passes on one warning of OpenTelemetry a minute and counts the others.

    While a collector is away, the library logs each attempt and each span that it drops.

    Args:
        redact: removes secrets; the library quotes the value of a malformed header.
    """

    def __init__(self, redact: Redact) -> None:
        super().__init__(logging.WARNING)
        self._redact = redact
        self._logged_at_s: float | None = None
        self._suppressed = 0

    def open(self) -> None:
        """Receive all records of the library in place of the log."""
        _OPENTELEMETRY.addHandler(self)
        _OPENTELEMETRY.propagate = False

    def close(self) -> None:
        """Undo `open`. Safe more than once."""
        _OPENTELEMETRY.removeHandler(self)
        _OPENTELEMETRY.propagate = True
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        if self._logged_at_s is not None and now_s - self._logged_at_s < _INTERVAL_S:
            self._suppressed += 1
            return
        extra = {"suppressed": self._suppressed} if self._suppressed else {}
        self._logged_at_s, self._suppressed = now_s, 0
        message = self._redact(record.getMessage())
        if variable := proxy_variable(os.environ):
            message += (
                f"; the collector is called through the proxy that {variable} names: unset "
                f"{variable}, or add the host to no_proxy"
            )
        log.warning("traces may be lost: %s", message, extra=extra)
