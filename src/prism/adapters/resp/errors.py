"""Errors of the ports as the replies that Redis clients understand."""

from __future__ import annotations

from collections.abc import Callable

from prism.adapters.resp.replies import error
from prism.ports import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    Exhausted,
    InvalidArgument,
    NotServing,
    Outcome,
    PreconditionFailed,
    PrismError,
    Unauthenticated,
)

NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX_ERROR = "ERR syntax error"

_BY_REASON = {
    "NOT_AN_INTEGER": NOT_AN_INTEGER,
    "OVERFLOW": "ERR increment or decrement would overflow",
    "WRONG_TYPE": "WRONGTYPE Operation against a key holding the wrong kind of value",
    "TOO_MANY_IN_FLIGHT": "BUSY ",
    "TOO_MANY_LOGINS": "BUSY ",
    "QUOTA_EXCEEDED": "BUSY ",
}

_PREFIXES: tuple[tuple[type[PrismError], str], ...] = (
    # A client that reads LOADING tries again, here or elsewhere.
    (NotServing, "LOADING"),
    (Exhausted, "OOM"),
    (AccessDenied, "NOPERM"),
    (Unauthenticated, "NOAUTH"),
)

_UNKNOWN = "it is unknown whether this took effect"


class CommandError(InvalidArgument):
    """Command that cannot be run as it is; the message is the reply, with its prefix."""


class KeyChanged(PreconditionFailed):
    """Key that others changed each time that a command was about to write it."""

    default_reason = "CONTENDED"


def reply_of(failure: Exception, *, writes: bool, redact: Callable[[str], str] = str) -> bytes:
    """Return the reply for an error.

    Args:
        writes: whether the command writes: then the reply says whether it took effect, if
            that is not certain.
    """
    if isinstance(failure, CommandError):
        return error(failure.message)
    if not isinstance(failure, PrismError):
        outcome = f"; {_UNKNOWN}" if writes else ""
        return error(f"ERR internal error; the server's log has the details{outcome}")
    text = redact(failure.message)
    known = _BY_REASON.get(failure.reason)
    if known is not None:
        return error(known + text if known.endswith(" ") else known)
    if writes and failure.outcome is Outcome.UNKNOWN:
        # No prefix by which a client tries again by itself.
        return error(f"ERR {text}; {_UNKNOWN}")
    if writes and isinstance(failure, BackendTimeout | BackendUnavailable):
        text += "; nothing was written"
    prefix = next((prefix for kind, prefix in _PREFIXES if isinstance(failure, kind)), "ERR")
    return error(f"{prefix} {text}")


def not_utf8(failure: UnicodeDecodeError) -> CommandError:
    """Return the error for a key that is not text."""
    byte = failure.object[failure.start]
    return CommandError(
        f"ERR the key is not UTF-8: byte 0x{byte:02x} at position {failure.start}; "
        "Prism's keys are text"
    )
