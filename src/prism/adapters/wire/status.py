"""Mapping between errors of the ports and gRPC statuses, in both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from google.rpc import code_pb2, error_details_pb2, status_pb2

from prism import ports
from prism.ports import ConditionFailed, Exhausted, Outcome, PrismError, Version
from prism.v1 import keyvalue_pb2 as pb

DOMAIN = "prism"

_LONGEST_TEXT = 1000

_CODES: dict[type[PrismError], int] = {
    ports.InvalidArgument: code_pb2.INVALID_ARGUMENT,
    ports.PreconditionFailed: code_pb2.FAILED_PRECONDITION,
    ports.IllegalTransition: code_pb2.FAILED_PRECONDITION,
    ports.VersionConflict: code_pb2.ABORTED,
    ports.ConditionFailed: code_pb2.ABORTED,
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
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    if isinstance(error, ConditionFailed):
        info.metadata.update(_metadata_of(error))
    status.details.add().Pack(info)
    status.details.add().Pack(pb.WriteOutcome(outcome=_OUTCOMES[error.outcome]))
    if isinstance(error, Exhausted) and error.retry_after is not None:
        hint = error_details_pb2.RetryInfo()
        hint.retry_delay.FromTimedelta(error.retry_after)
        status.details.add().Pack(hint)
    return status


def sendable(text: str) -> str:
    """Return the text shortened for a status, which is sent in headers, and as valid UTF-8."""
    return encodable(text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…")


def encodable(text: str) -> str:
    """Return the text as valid UTF-8, which messages require."""
    return text.encode("utf-8", "replace").decode()


def error_of(status: status_pb2.Status) -> PrismError:
    """Return the error of a status, from Prism or from a library."""
    info, outcome = _details_of(status)
    reason = None if info is None else info.reason
    known = _BY_REASON.get((status.code, reason)) if reason else None
    kind = known or _BY_CODE.get(status.code, ports.Internal)
    if outcome is None:
        never_served = status.code in _NEVER_SERVED
        outcome = Outcome.NOT_APPLIED if never_served else Outcome.UNKNOWN
    error = kind(status.message, reason=reason, outcome=outcome)
    if info is not None and isinstance(error, ConditionFailed):
        _read_metadata(error, info.metadata)
    if isinstance(error, Exhausted):
        error.retry_after = _retry_after_of(status)
    return error


def _retry_after_of(status: status_pb2.Status) -> timedelta | None:
    for detail in status.details:
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            hint = error_details_pb2.RetryInfo.FromString(detail.value)
            return timedelta(microseconds=hint.retry_delay.ToMicroseconds())
    return None


def _metadata_of(error: ConditionFailed) -> dict[str, str]:
    metadata = {"index": str(error.index)}
    if error.current is not None:
        metadata["current_version"] = str(error.current)
    return metadata


def _read_metadata(error: ConditionFailed, metadata: Mapping[str, str]) -> None:
    """Complete an error; what is not a number came from another server, and is left out."""
    index, current = metadata.get("index", ""), metadata.get("current_version", "")
    if index.isdecimal():
        error.index = int(index)
    if current.isdecimal():
        error.current = Version(int(current))


def _details_of(
    status: status_pb2.Status,
) -> tuple[error_details_pb2.ErrorInfo | None, Outcome | None]:
    found: error_details_pb2.ErrorInfo | None = None
    outcome: Outcome | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            if info.domain == DOMAIN:
                found = info
        elif detail.Is(pb.WriteOutcome.DESCRIPTOR):
            applied = pb.WriteOutcome.FromString(detail.value).outcome
            outcome = Outcome.NOT_APPLIED if applied == pb.OUTCOME_NOT_APPLIED else Outcome.UNKNOWN
    return found, outcome
