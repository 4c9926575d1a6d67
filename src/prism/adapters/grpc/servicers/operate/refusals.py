"""What is refused of an operation before anything else looks at it, and what cancelling is."""

from __future__ import annotations

from collections.abc import Container

from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.status import status_of
from prism.ports import BackendUnavailable, InvalidArgument, Outcome
from prism.v1 import keyvalue_pb2 as pb


def name_of(operation: pb.Operation, unanswered: Container[int]) -> str:
    """The name of its kind.

    Raises:
        InvalidArgument: it has none, or the id of another.
    """
    name: str | None = operation.WhichOneof("operation")
    if name is None:
        raise InvalidArgument("the operation is unset, or not known to this server")
    if operation.id in unanswered:
        raise InvalidArgument(f"the id {operation.id} is that of an unanswered operation")
    return name


def cancelled(outcome: Outcome) -> status_pb2.Status:
    """Only callers cancel, so no error of ours is called that."""
    status = status_of(
        BackendUnavailable("cancelled by its caller", reason="CANCELLED", outcome=outcome)
    )
    status.code = code_pb2.CANCELLED
    return status
