"""Errors, named after the gRPC status codes.

A driver raises these errors and no others: it translates each exception of a library beside
the call that raised it. A message says what was wrong, with which value, and what to do about
it. It never contains a secret.

https://grpc.io/docs/guides/status-codes/
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import ClassVar

from prism.ports.values import Version


class Outcome(StrEnum):
    """Whether a failed write took effect."""

    NOT_APPLIED = "not_applied"
    UNKNOWN = "unknown"


class PrismError(Exception):
    """Base class of all errors that Prism raises on purpose.

    Attributes:
        message: one sentence for people.
        reason: UPPER_SNAKE_CASE identifier for programs, stable across releases.
        outcome: whether a failed write took effect; no meaning for a read.
    """

    default_reason: ClassVar[str]
    default_outcome: ClassVar[Outcome] = Outcome.NOT_APPLIED

    def __init__(
        self, message: str, *, reason: str | None = None, outcome: Outcome | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.outcome = outcome or self.default_outcome


class InvalidArgument(PrismError):
    """The request is invalid in every state of the system."""

    default_reason = "INVALID_ARGUMENT"


class PreconditionFailed(PrismError):
    """The stored value or the state of the system does not allow the operation."""

    default_reason = "FAILED_PRECONDITION"


class IllegalTransition(PreconditionFailed):
    """The current state does not allow the lifecycle command."""

    default_reason = "ILLEGAL_TRANSITION"


class VersionConflict(PrismError):
    """The key does not have the version that a compare-and-set expects."""

    default_reason = "VERSION_CONFLICT"


class ConditionFailed(VersionConflict):
    """The keys do not meet a condition of a transaction.

    Attributes:
        index: position, from 0, of the first condition that is not met.
        current: version that its key has; None: the key is absent.
    """

    default_reason = "CONDITION_FAILED"

    def __init__(
        self,
        message: str,
        *,
        index: int = 0,
        current: Version | None = None,
        reason: str | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, reason=reason, outcome=outcome)
        self.index = index
        self.current = current


class ScanExpired(PrismError):
    """The backend cannot continue a scan from this page token: start the scan again."""

    default_reason = "SCAN_EXPIRED"


class WatchEnded(PrismError):
    """The watch may have missed events: start a new watch and read the keys again."""

    default_reason = "WATCH_ENDED"


class Unsupported(PrismError):
    """The driver does not declare the capability that the operation needs."""

    default_reason = "UNSUPPORTED"


class NotServing(PrismError):
    """Prism itself refuses the operation: it is not started, draining, or stopped."""

    default_reason = "NOT_SERVING"


class BackendUnavailable(PrismError):
    """The backend cannot be reached, or the connection to it broke."""

    default_reason = "BACKEND_UNAVAILABLE"
    default_outcome = Outcome.UNKNOWN


class BackendTimeout(PrismError):
    """The backend did not answer within the deadline."""

    default_reason = "DEADLINE_EXCEEDED"
    default_outcome = Outcome.UNKNOWN


class Exhausted(PrismError):
    """A limit is reached: memory, keys, calls in flight, a quota, or the size of a reply.

    Attributes:
        retry_after: time after which the same may succeed; None: it is not known.
    """

    default_reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        reason: str | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message, reason=reason, outcome=outcome)
        self.retry_after = retry_after


class AccessDenied(PrismError):
    """The credentials are valid but do not allow the operation."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(PrismError):
    """Credentials are missing or wrong."""

    default_reason = "UNAUTHENTICATED"


class Internal(PrismError):
    """Defect in Prism or in a server behind it; the log of the process at fault has the details."""

    default_reason = "INTERNAL"
    default_outcome = Outcome.UNKNOWN
