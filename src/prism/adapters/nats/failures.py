"""What the server refuses, as our errors.

The numbers are JetStream's own: https://github.com/nats-io/nats-server/blob/main/server/errors.json
"""

from __future__ import annotations

import logging
from typing import Any

from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Exhausted,
    Internal,
    InvalidArgument,
    Outcome,
    PrismError,
    VersionConflict,
)

STREAM_NOT_FOUND = 10059
NO_MESSAGE = 10037
NAME_IN_USE = 10058
NOT_ENABLED = frozenset({10039, 10076})

_CONFLICT = frozenset({10071, 10164})
_NO_ROOM = frozenset({10002, 10023, 10028, 10047, 10077})
_TOO_MANY = 10167
_TOO_LARGE = 10054
_UNAVAILABLE = 503

_logger = logging.getLogger(__name__)


class ApiError(Exception):
    """The server's answer is an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.number = int(error.get("err_code", 0))
        self.status = int(error.get("code", 0))
        self.description = str(error.get("description", ""))
        super().__init__(f"{self.description} ({self.number})")


def translated(error: ApiError, address: str) -> PrismError:
    """The error, and what became of a write that it answers."""
    if error.number in _CONFLICT:
        return VersionConflict("the key is not in the state that was expected")
    if error.number == STREAM_NOT_FOUND:
        return BackendUnavailable(f"the bucket at {address} is gone", outcome=Outcome.NOT_APPLIED)
    if error.number in NOT_ENABLED:
        return BackendUnavailable(
            f"JetStream is not available at {address}", outcome=Outcome.NOT_APPLIED
        )
    if error.number in _NO_ROOM:
        return Exhausted(f"the bucket at {address} has no room: {error.description}")
    if error.number == _TOO_MANY:
        return Exhausted(f"the bucket at {address} has too many writes waiting: send fewer at once")
    if error.number == _TOO_LARGE:
        return InvalidArgument("the value is over the limit that the bucket has on a message")
    if error.status == _UNAVAILABLE:
        return BackendUnavailable(f"the NATS server at {address} says: {error.description}")
    _logger.error("the NATS server at %s answered %s", address, error)
    return Internal("the NATS server refused the request; the log has its answer")


def denied(subject: str, address: str) -> AccessDenied:
    """The account's permissions leave out a subject."""
    return AccessDenied(f"the account at {address} may not publish to {subject}")


def refused(address: str, why: str) -> BackendUnavailable:
    """Nothing was sent."""
    return BackendUnavailable(
        f"no connection to the NATS server at {address}: {why}", outcome=Outcome.NOT_APPLIED
    )


def unanswered(address: str) -> BackendUnavailable:
    """Nobody listens where the request went."""
    return BackendUnavailable(
        f"the bucket does not answer at {address}: no JetStream, or no leader now",
        outcome=Outcome.NOT_APPLIED,
    )


def broken(address: str, why: str) -> BackendUnavailable:
    """It may have been sent, and no answer will come."""
    return BackendUnavailable(f"the connection to the NATS server at {address} broke: {why}")
