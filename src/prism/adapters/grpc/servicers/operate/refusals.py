"""What is refused of an operation before anything else looks at it, and what cancelling is."""

from __future__ import annotations

from google.rpc import code_pb2, status_pb2

from prism.adapters.wire.status import status_of
from prism.ports import BackendUnavailable, InvalidArgument, Outcome
from prism.v1 import keyvalue_pb2 as pb


def unusable(operation: pb.Operation) -> InvalidArgument:
    """Why there is nothing to be done: it is of no kind, or has the id of another."""
    if operation.WhichOneof("operation") is None:
        return InvalidArgument("the operation is unset, or not known to this server")
    return InvalidArgument(f"the id {operation.id} is that of an unanswered operation")


def cancelled(outcome: Outcome) -> status_pb2.Status:
    """Only callers cancel, so no error of ours is called that."""
    status = status_of(
        BackendUnavailable("cancelled by its caller", reason="CANCELLED", outcome=outcome)
    )
    status.code = code_pb2.CANCELLED
    return status
