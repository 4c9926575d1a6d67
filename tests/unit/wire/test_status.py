"""Conversions between errors and statuses."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from prism import ports
from prism.adapters.wire.status import error_of, status_of
from prism.ports import Outcome, PrismError, Version

CODES: list[tuple[type[PrismError], int]] = [
    (ports.InvalidArgument, code_pb2.INVALID_ARGUMENT),
    (ports.PreconditionFailed, code_pb2.FAILED_PRECONDITION),
    (ports.VersionConflict, code_pb2.ABORTED),
    (ports.ConditionFailed, code_pb2.ABORTED),
    (ports.ScanExpired, code_pb2.ABORTED),
    (ports.WatchEnded, code_pb2.ABORTED),
    (ports.Unsupported, code_pb2.UNIMPLEMENTED),
    (ports.IllegalTransition, code_pb2.FAILED_PRECONDITION),
    (ports.NotServing, code_pb2.UNAVAILABLE),
    (ports.BackendUnavailable, code_pb2.UNAVAILABLE),
    (ports.BackendTimeout, code_pb2.DEADLINE_EXCEEDED),
    (ports.Exhausted, code_pb2.RESOURCE_EXHAUSTED),
    (ports.AccessDenied, code_pb2.PERMISSION_DENIED),
    (ports.Unauthenticated, code_pb2.UNAUTHENTICATED),
    (ports.Internal, code_pb2.INTERNAL),
]


def subclasses(error: type[PrismError]) -> set[type[PrismError]]:
    return {error}.union(*map(subclasses, error.__subclasses__()))


def test_every_error_has_a_code() -> None:
    named = {error for error, _ in CODES}
    assert named == {
        error
        for error in subclasses(PrismError) - {PrismError}
        if error.__module__ == ports.errors.__name__
    }


@pytest.mark.parametrize(("error", "code"), CODES)
@pytest.mark.parametrize("outcome", list(Outcome))
def test_error_survives_a_round_trip(error: type[PrismError], code: int, outcome: Outcome) -> None:
    status = status_of(error("what happened", outcome=outcome))
    assert status.code == code
    back = error_of(status_pb2.Status.FromString(status.SerializeToString()))
    assert type(back) is error
    assert (back.message, back.outcome) == ("what happened", outcome)


@pytest.mark.parametrize("current", [None, Version(0), Version((1 << 64) - 1)])
def test_which_condition_failed_survives_a_round_trip(current: Version | None) -> None:
    back = error_of(status_of(ports.ConditionFailed("no", index=7, current=current)))
    assert isinstance(back, ports.ConditionFailed)
    assert (back.index, back.current) == (7, current)


def test_a_failed_condition_of_another_server_may_say_nothing_of_it() -> None:
    status = status_pb2.Status(code=code_pb2.ABORTED, message="no")
    info = error_details_pb2.ErrorInfo(reason="CONDITION_FAILED", domain="prism")
    info.metadata.update({"index": "-1", "current_version": "x"})
    status.details.add().Pack(info)
    back = error_of(status)
    assert isinstance(back, ports.ConditionFailed)
    assert (back.index, back.current) == (0, None)


def test_reason_defined_by_a_driver_returns_with_the_general_class() -> None:
    back = error_of(status_of(ports.PreconditionFailed("text is stored", reason="NOT_AN_INTEGER")))
    assert type(back) is ports.PreconditionFailed
    assert back.reason == "NOT_AN_INTEGER"


def test_error_class_defined_by_a_driver_has_the_code_of_its_base() -> None:
    class DiskFull(ports.Exhausted):
        default_reason = "DISK_FULL"

    assert status_of(DiskFull("no room")).code == code_pb2.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("code", "error", "outcome"),
    [
        (code_pb2.UNAVAILABLE, ports.BackendUnavailable, Outcome.UNKNOWN),
        (code_pb2.DEADLINE_EXCEEDED, ports.BackendTimeout, Outcome.UNKNOWN),
        (code_pb2.RESOURCE_EXHAUSTED, ports.Exhausted, Outcome.UNKNOWN),
        (code_pb2.UNIMPLEMENTED, ports.Unsupported, Outcome.NOT_APPLIED),
        (code_pb2.UNKNOWN, ports.Internal, Outcome.UNKNOWN),
        (code_pb2.DATA_LOSS, ports.Internal, Outcome.UNKNOWN),
    ],
)
def test_status_without_details_has_an_unknown_outcome_unless_never_served(
    code: int, error: type[PrismError], outcome: Outcome
) -> None:
    back = error_of(status_pb2.Status(code=code, message="m"))
    assert type(back) is error
    assert back.outcome is outcome


def test_reason_of_another_domain_is_ignored() -> None:
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="m")
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="ILLEGAL_TRANSITION", domain="example.com")
    )
    assert type(error_of(status)) is ports.PreconditionFailed


@pytest.mark.parametrize("text", ["x" * 100_000, "ö" * 5000, "lone \ud800 surrogate"])
def test_text_that_no_header_can_carry_is_shortened_or_replaced(text: str) -> None:
    status = status_of(ports.InvalidArgument(text))
    assert len(status.SerializeToString()) < 4096
    assert status.message.startswith(text[:5])
