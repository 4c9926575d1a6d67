"""Mapping between errors of the ports and gRPC statuses, in both directions."""

from __future__ import annotations

from collections.abc import Callable

from google.rpc import code_pb2, error_details_pb2, status_pb2

from prism import ports
from prism.ports import Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb

DOMAIN = "prism"

_LONGEST_TEXT = 1000

_CODES: dict[type[PrismError], int] = {
    ports.InvalidArgument: code_pb2.INVALID_ARGUMENT,
    ports.PreconditionFailed: code_pb2.FAILED_PRECONDITION,
    ports.IllegalTransition: code_pb2.FAILED_PRECONDITION,
    ports.VersionConflict: code_pb2.ABORTED,
    ports.ScanExpired: code_pb2.ABORTED,
    ports.WatchEnded: code_pb2.ABORTED,
    ports.Unsupported: code_pb2.UNIMPLEMENTED,
    ports.NotServing: code_pb2.UNAVAILABLE,
    ports.BackendUnavailable: code_pb2.UNAVAILABLE,
    ports.BackendTimeout: code_pb2.DEADLINE_EXCEEDED,
    ports.Exhausted: code_pb2.RESOURCE_EXHAUSTED,
    ports.AccessDenied: code_pb2.PERMISSION_DENIED,
    ports.Unauthenticated: code_pb2.UNAUTHENTICATED,
    ports.Internal: code_pb2.INTERNAL,
}

_OUTCOMES = {
    Outcome.NOT_APPLIED: pb.OUTCOME_NOT_APPLIED,
    Outcome.UNKNOWN: pb.OUTCOME_UNKNOWN,
}

# Several classes share a code. The reason distinguishes them on the way back; a reason
# defined by a driver belongs to the general class of its code.
_BY_REASON = {(code, error.default_reason): error for error, code in _CODES.items()}
_BY_CODE: dict[int, type[PrismError]] = {
    code_pb2.INVALID_ARGUMENT: ports.InvalidArgument,
    code_pb2.OUT_OF_RANGE: ports.InvalidArgument,
    code_pb2.FAILED_PRECONDITION: ports.PreconditionFailed,
    code_pb2.ABORTED: ports.VersionConflict,
    code_pb2.UNIMPLEMENTED: ports.Unsupported,
    code_pb2.UNAVAILABLE: ports.BackendUnavailable,
    code_pb2.CANCELLED: ports.BackendUnavailable,
    code_pb2.DEADLINE_EXCEEDED: ports.BackendTimeout,
    code_pb2.RESOURCE_EXHAUSTED: ports.Exhausted,
    code_pb2.PERMISSION_DENIED: ports.AccessDenied,
    code_pb2.UNAUTHENTICATED: ports.Unauthenticated,
}

# A status without details was made by a library on the way. Only with these codes is it
# certain that no servicer saw the request.
_NEVER_SERVED = {code_pb2.UNIMPLEMENTED, code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED}


def status_of(error: PrismError, redact: Callable[[str], str] = str) -> status_pb2.Status:
    """Return the status of an error, with its reason and outcome as details.

    Args:
        redact: hides secrets in its message.
    """
    code = next(_CODES[base] for base in type(error).__mro__ if base in _CODES)
    status = status_pb2.Status(code=code, message=sendable(redact(error.message)))
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    status.details.add().Pack(pb.WriteOutcome(outcome=_OUTCOMES[error.outcome]))
    return status


def sendable(text: str) -> str:
    """Return the text shortened for a status, which is sent in headers, and as valid UTF-8."""
    return encodable(text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…")


def encodable(text: str) -> str:
    """Return the text as valid UTF-8, which messages require."""
    return text.encode("utf-8", "replace").decode()


def error_of(status: status_pb2.Status) -> PrismError:
    """Return the error of a status, from Prism or from a library."""
    reason, outcome = _details_of(status)
    known = _BY_REASON.get((status.code, reason)) if reason else None
    error = known or _BY_CODE.get(status.code, ports.Internal)
    if outcome is None:
        never_served = status.code in _NEVER_SERVED
        outcome = Outcome.NOT_APPLIED if never_served else Outcome.UNKNOWN
    return error(status.message, reason=reason, outcome=outcome)


def _details_of(status: status_pb2.Status) -> tuple[str | None, Outcome | None]:
    reason: str | None = None
    outcome: Outcome | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            if info.domain == DOMAIN:
                reason = info.reason
        elif detail.Is(pb.WriteOutcome.DESCRIPTOR):
            applied = pb.WriteOutcome.FromString(detail.value).outcome
            outcome = Outcome.NOT_APPLIED if applied == pb.OUTCOME_NOT_APPLIED else Outcome.UNKNOWN
    return reason, outcome
