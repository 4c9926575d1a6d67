"""Log of requests that failed or were slow, with a limit on its lines."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from time import perf_counter_ns
from typing import NamedTuple, Protocol

from google.rpc import code_pb2, error_details_pb2, status_pb2

from prism.domain.tallies import NS_PER_SECOND
from prism.ports import NotServing, PrismError

log = logging.getLogger(__name__)

LINES, WINDOW_S = 10, 10.0
"""Maximum number of lines for one kind of request per window; the others are only counted."""

# Logged at DEBUG: caused by the caller, and the message may quote what the caller sent.
_CALLER_ERRORS = frozenset(
    {
        code_pb2.CANCELLED,
        code_pb2.INVALID_ARGUMENT,
        code_pb2.NOT_FOUND,
        code_pb2.ALREADY_EXISTS,
        code_pb2.FAILED_PRECONDITION,
        code_pb2.ABORTED,
        code_pb2.OUT_OF_RANGE,
        code_pb2.UNIMPLEMENTED,
    }
)
_SERVER_ERRORS = frozenset({code_pb2.UNKNOWN, code_pb2.INTERNAL, code_pb2.DATA_LOSS})


class _Kind(NamedTuple):
    """Kind of log line, of which a failing backend causes thousands.

    Attributes:
        path: path of the method.
        code: status code; OK: the request succeeded and was slow.
    """

    path: str
    code: int
    level: int

    def __str__(self) -> str:
        return "slow" if self.code == code_pb2.OK else code_pb2.Code.Name(self.code)


class FailureObserver(Protocol):
    """Observes every request that fails, including those that are not logged."""

    def failed(self, path: str, code: int, message: str) -> None:
        """Note that a request failed with this status."""
        ...


class RequestLog:
    """Logs requests that failed or were slow; the lines contain neither keys nor values.

    Args:
        slow: duration from which on a successful request is logged; zero: never.
        failures: observer of all failures.

    Attributes:
        redact: hides secrets in error messages, in the log and for the caller.
    """

    def __init__(
        self,
        *,
        slow: timedelta = timedelta(),
        failures: FailureObserver | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.redact = redact
        self._failures = failures
        self.slow_ns = int(slow.total_seconds() * NS_PER_SECOND) or sys.maxsize
        self._counts: dict[_Kind, int] = {}
        self._timers: dict[_Kind, asyncio.TimerHandle] = {}

    def failed(
        self, path: str, status: status_pb2.Status, error: Exception | None, started_ns: int
    ) -> None:
        """Log a request that failed.

        Args:
            status: status sent to the caller.
            error: error that caused it; None: the transport refused what the caller sent.
            started_ns: start by `perf_counter_ns`; 0: just now.
        """
        if self._failures is not None:
            self._failures.failed(path, status.code, status.message)
        kind = _Kind(path, status.code, _level_of(status.code, error))
        if not self._may_log(kind):
            return
        fields = _fields(kind, started_ns) | {"reason": _reason_of(status)}
        if not isinstance(error, PrismError) and kind.level == logging.ERROR:
            log.error("unexpected error in %s", path, exc_info=error, extra=fields)
        elif kind.level == logging.DEBUG:
            log.debug("%s failed", path, extra=fields)
        else:
            log.log(kind.level, "%s failed: %s", path, status.message, extra=fields)

    def succeeded(self, path: str, started_ns: int) -> None:
        """Log a successful request if it was slow."""
        if perf_counter_ns() - started_ns < self.slow_ns:
            return
        kind = _Kind(path, code_pb2.OK, logging.WARNING)
        if self._may_log(kind):
            log.warning("%s was slow", path, extra=_fields(kind, started_ns))

    def close(self) -> None:
        """Log the counts of suppressed lines now. Safe more than once."""
        for kind in tuple(self._counts):
            self._log_suppressed(kind)

    def _may_log(self, kind: _Kind) -> bool:
        if not log.isEnabledFor(kind.level):
            return False
        count = self._counts.get(kind, 0)
        if not count:
            loop = asyncio.get_running_loop()
            self._timers[kind] = loop.call_later(WINDOW_S, self._log_suppressed, kind)
        self._counts[kind] = count + 1
        return count < LINES

    def _log_suppressed(self, kind: _Kind) -> None:
        self._timers.pop(kind).cancel()
        suppressed = self._counts.pop(kind) - LINES
        if suppressed > 0:
            fields = _fields(kind) | {"suppressed": suppressed}
            log.log(kind.level, "%s: %d more (%s)", kind.path, suppressed, kind, extra=fields)


def _level_of(code: int, error: Exception | None) -> int:
    # NotServing: the server has logged already that it drains or stops.
    if code in _CALLER_ERRORS or isinstance(error, NotServing):
        return logging.DEBUG
    return logging.ERROR if error is not None and code in _SERVER_ERRORS else logging.WARNING


def _fields(kind: _Kind, started_ns: int = 0) -> dict[str, object]:
    fields: dict[str, object] = {"method": kind.path}
    if kind.code != code_pb2.OK:
        fields["code"] = str(kind)
    if started_ns:
        fields["duration_ms"] = round((perf_counter_ns() - started_ns) / 1e6, 3)
    return fields


def _reason_of(status: status_pb2.Status) -> str:
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            reason: str = error_details_pb2.ErrorInfo.FromString(detail.value).reason
            return reason
    return ""
