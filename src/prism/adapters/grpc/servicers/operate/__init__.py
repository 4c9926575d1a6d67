"""KeyValueService.Operate: many independent operations over one stream."""

from prism.adapters.grpc.servicers.operate.operation import (
    Cancellable,
    OnOutcome,
    Operation,
    OperationKind,
    StreamLimits,
    kinds_of,
)
from prism.adapters.grpc.servicers.operate.responses import EncodedResponse
from prism.adapters.grpc.servicers.operate.stream import OperateCall

__all__ = [
    "Cancellable",
    "EncodedResponse",
    "OnOutcome",
    "OperateCall",
    "Operation",
    "OperationKind",
    "StreamLimits",
    "kinds_of",
]
