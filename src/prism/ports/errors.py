"""One taxonomy of failure, named after the gRPC status codes.

A driver raises these and nothing else; each library exception is translated
beside the call that raised it. A message says what was wrong, with which value,
and what to do about it, and never holds a secret.

https://grpc.io/docs/guides/status-codes/
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Outcome(StrEnum):
    """What became of a write that failed."""

    NOT_APPLIED = "not_applied"
    UNKNOWN = "unknown"


class PrismError(Exception):
    """The root of everything that Prism raises on purpose.

    Attributes:
        message: one sentence for people.
        reason: UPPER_SNAKE_CASE for programs, stable across releases.
        outcome: what became of the write; without meaning for a read.
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
    """The request is wrong, whatever the state of the system."""

    default_reason = "INVALID_ARGUMENT"


class PreconditionFailed(PrismError):
    """The stored value, or the state, does not allow the operation."""

    default_reason = "FAILED_PRECONDITION"


class IllegalTransition(PreconditionFailed):
    """A lifecycle command from a state that does not allow it."""

    default_reason = "ILLEGAL_TRANSITION"


class VersionConflict(PrismError):
    """A compare-and-set lost: the key is not in the state it named."""

    default_reason = "VERSION_CONFLICT"


class ScanExpired(PrismError):
    """A page token whose backend has moved on: start the scan again."""

    default_reason = "SCAN_EXPIRED"


class WatchEnded(PrismError):
    """A watch that may have missed something: begin it again, and read what it is about."""

    default_reason = "WATCH_ENDED"


class Unsupported(PrismError):
    """The driver does not declare the capability."""

    default_reason = "UNSUPPORTED"


class NotServing(PrismError):
    """Prism itself refuses new work: not started, draining, or stopped."""

    default_reason = "NOT_SERVING"


class BackendUnavailable(PrismError):
    """The backend cannot be reached, or the connection to it broke."""

    default_reason = "BACKEND_UNAVAILABLE"
    default_outcome = Outcome.UNKNOWN


class BackendTimeout(PrismError):
    """No answer within the deadline."""

    default_reason = "DEADLINE_EXCEEDED"
    default_outcome = Outcome.UNKNOWN


class Exhausted(PrismError):
    """A limit is reached: memory, keys, calls in flight, the size of a reply."""

    default_reason = "RESOURCE_EXHAUSTED"


class AccessDenied(PrismError):
    """The credentials are known and do not suffice."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(PrismError):
    """Credentials are missing or wrong."""

    default_reason = "UNAUTHENTICATED"


class Internal(PrismError):
    """A defect, on this side or behind it; the log of that side has the rest."""

    default_reason = "INTERNAL"
    default_outcome = Outcome.UNKNOWN
