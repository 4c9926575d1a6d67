"""Translation of NATS failures into the errors of the ports.

JetStream's error numbers: https://github.com/nats-io/nats-server/blob/main/server/errors.json
"""

from __future__ import annotations

import logging
import ssl
from typing import TypedDict

import nats.errors

from prism.kit import tls_problem
from prism.ports import (
    AccessDenied,
    BackendTimeout,
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

MALFORMED_REQUEST = frozenset({10003, 10025})
"""Errors about a request that is not valid, or not JSON; Prism sends no such request."""

_CONFLICT = frozenset({10071, 10164})
_NOT_ENABLED = frozenset({10039, 10076})
_FULL = frozenset({10002, 10023, 10028, 10047, 10077})
_TOO_MANY_CONSUMERS = 10026
_TOO_MANY_WRITES = 10167
_TOO_LARGE = 10054
_NO_PLACE = 10005
_UNAVAILABLE = 503

_logger = logging.getLogger(__name__)


class ApiError(TypedDict, total=False):
    """Error that JetStream answers with; `code` is a status in the style of HTTP."""

    code: int
    err_code: int
    description: str


def translate(error: ApiError, address: str) -> PrismError:
    """Return the error of the ports for an error of JetStream."""
    number, description = error.get("err_code", 0), error.get("description", "")
    if number in _CONFLICT:
        return VersionConflict("the key is absent, or has another version than the one expected")
    if number == STREAM_NOT_FOUND:
        return BackendUnavailable(
            f"the bucket at {address} does not exist any more", outcome=Outcome.NOT_APPLIED
        )
    if number in _NOT_ENABLED:
        return BackendUnavailable(
            f"JetStream is not available at {address}", outcome=Outcome.NOT_APPLIED
        )
    if number in _FULL:
        return Exhausted(f"the bucket at {address} is full: {description}")
    if number == _TOO_MANY_WRITES:
        return Exhausted(
            f"too many writes are waiting for the bucket at {address}: send fewer at once"
        )
    if number == _TOO_MANY_CONSUMERS:
        return Exhausted(
            f"the bucket at {address} has as many consumers as the server allows: run fewer scans "
            "and watches at once, or raise max_consumers of the account"
        )
    if number == _TOO_LARGE:
        return InvalidArgument("the value is over the bucket's limit on the size of a message")
    if number == _NO_PLACE:
        # Some servers of the cluster may not be there yet.
        return BackendUnavailable(
            f"the cluster at {address} has no servers for the bucket: {description}",
            outcome=Outcome.NOT_APPLIED,
        )
    if error.get("code") == _UNAVAILABLE:
        return BackendUnavailable(f"the NATS server at {address} reports: {description}")
    _logger.error("the NATS server at %s answered %s (%d)", address, description, number)
    return Internal("the NATS server refused the request; its answer is in the log")


def is_expected_of_a_write(error: ApiError) -> bool:
    """Return whether a write of Prism can cause an error, alone or with the server's state."""
    number = error.get("err_code", 0)
    return (
        number in _CONFLICT | _NOT_ENABLED | _FULL
        or number in (STREAM_NOT_FOUND, _TOO_MANY_WRITES, _TOO_LARGE)
        or error.get("code") == _UNAVAILABLE
    )


def access_denied(subject: str, address: str) -> AccessDenied:
    """Return the error for a subject that the account's permissions exclude."""
    return AccessDenied(f"the account at {address} may not publish to {subject}")


def not_connected(address: str, reason: str) -> BackendUnavailable:
    """Return the error for a request that was not sent."""
    return BackendUnavailable(
        f"no connection to the NATS server at {address}: {reason}", outcome=Outcome.NOT_APPLIED
    )


def no_responders(address: str) -> BackendUnavailable:
    """Return the error for a request that no server handles at present."""
    return BackendUnavailable(
        f"the bucket at {address} does not answer: JetStream is off, or the bucket has no leader",
        outcome=Outcome.NOT_APPLIED,
    )


def connection_lost(address: str, reason: str) -> BackendUnavailable:
    """Return the error for a request that may have been sent and gets no answer."""
    return BackendUnavailable(f"the connection to the NATS server at {address} broke: {reason}")


def waited_too_long(address: str, timeout_s: float, outcome: Outcome) -> BackendTimeout:
    """Return the error for an operation that other operations held up."""
    return BackendTimeout(
        f"other operations at {address} did not finish within {timeout_s:g} s", outcome=outcome
    )


def library_text(error: Exception) -> str:
    """Return what an error of nats-py says, without the library's name."""
    if isinstance(error, nats.errors.SecureConnWantedError):
        return "it does not offer TLS: use nats:// and no TLS files"
    if isinstance(error, ssl.SSLError):
        return tls_problem(error)
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections; is it running?"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__
