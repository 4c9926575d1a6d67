"""Requests that failed or were slow, in the log; all the others are only counted."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from time import perf_counter_ns
from typing import Any, NamedTuple, Protocol

from google.rpc import code_pb2, error_details_pb2, status_pb2

from prism.domain.tallies import NS_PER_SECOND
from prism.ports import NotServing, PrismError

log = logging.getLogger(__name__)

LINES, WINDOW_S = 10, 10.0
"""So many lines about requests of one kind in so long a time; the rest is told as a number."""

# What these say may repeat what the caller sent, so they are not quoted.
_OF_CALLERS = frozenset(
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
_OF_OURS = frozenset({code_pb2.UNKNOWN, code_pb2.INTERNAL, code_pb2.DATA_LOSS})


class _Kind(NamedTuple):
    """What a failing backend makes thousands of.

    Attributes:
        code: of the status; OK of those that were slow.
    """

    path: str
    code: int
    level: int

    def __str__(self) -> str:
        return "slow" if self.code == code_pb2.OK else code_pb2.Code.Name(self.code)


class FailureObserver(Protocol):
    """Is told of every request that fails, also of those that are not logged."""

    def failed(self, path: str, code: int, message: str) -> None:
        """A request was answered with this status."""
        ...


class RequestLog:
    """Says what went wrong, in a bounded number of lines.

    Neither keys nor values are in them.

    Args:
        slow: from how long on a request that succeeded is told; zero: none is.

    Attributes:
        redact: hides secrets in what is told of a failure, here and to its caller.
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
        self._told: dict[_Kind, int] = {}
        self._timers: dict[_Kind, asyncio.TimerHandle] = {}

    def failed(self, path: str, status: status_pb2.Status, error: Exception, begun_ns: int) -> None:
        """A request was answered with the status, because of the error.

        Args:
            begun_ns: by `perf_counter_ns`; 0: a moment ago.
        """
        if self._failures is not None:
            self._failures.failed(path, status.code, status.message)
        kind = _Kind(path, status.code, _level_of(status.code, error))
        if not self._may_tell(kind):
            return
        fields = _fields(kind, begun_ns) | {"reason": _reason_of(status)}
        if not isinstance(error, PrismError) and kind.level == logging.ERROR:
            log.error("unexpected error in %s", path, exc_info=error, extra=fields)
        elif kind.level == logging.DEBUG:
            log.debug("%s failed", path, extra=fields)
        else:
            log.log(kind.level, "%s failed: %s", path, status.message, extra=fields)

    def succeeded(self, path: str, begun_ns: int) -> None:
        """A request has its answer, be it late."""
        if perf_counter_ns() - begun_ns < self.slow_ns:
            return
        kind = _Kind(path, code_pb2.OK, logging.WARNING)
        if self._may_tell(kind):
            log.warning("%s was slow", path, extra=_fields(kind, begun_ns))

    def close(self) -> None:
        """Tell what would have been told later. Safe more than once."""
        for kind in tuple(self._told):
            self._tell_rest(kind)

    def _may_tell(self, kind: _Kind) -> bool:
        if not log.isEnabledFor(kind.level):
            return False
        told = self._told.get(kind, 0)
        if not told:
            loop = asyncio.get_running_loop()
            self._timers[kind] = loop.call_later(WINDOW_S, self._tell_rest, kind)
        self._told[kind] = told + 1
        return told < LINES

    def _tell_rest(self, kind: _Kind) -> None:
        self._timers.pop(kind).cancel()
        rest = self._told.pop(kind) - LINES
        if rest > 0:
            fields = _fields(kind) | {"suppressed": rest}
            log.log(kind.level, "%s: %d more (%s)", kind.path, rest, kind, extra=fields)


def _level_of(code: int, error: Exception) -> int:
    # That the server drains or is stopped, the server itself has said.
    if code in _OF_CALLERS or isinstance(error, NotServing):
        return logging.DEBUG
    return logging.ERROR if code in _OF_OURS else logging.WARNING


def _fields(kind: _Kind, begun_ns: int = 0) -> dict[str, Any]:
    fields: dict[str, Any] = {"method": kind.path}
    if kind.code != code_pb2.OK:
        fields["code"] = str(kind)
    if begun_ns:
        fields["duration_ms"] = round((perf_counter_ns() - begun_ns) / 1e6, 3)
    return fields


def _reason_of(status: status_pb2.Status) -> str:
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            reason: str = error_details_pb2.ErrorInfo.FromString(detail.value).reason
            return reason
    return ""
