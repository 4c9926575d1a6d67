"""KeyValueService.Operate: many independent operations over one stream."""

from prism.adapters.grpc.servicers.operate.operation import (
    OnOutcome,
    Operation,
    OperationKind,
    StreamLimits,
    kinds_of,
)
from prism.adapters.grpc.servicers.operate.responses import EncodedResponse
from prism.adapters.grpc.servicers.operate.stream import OperateCall

__all__ = [
    "EncodedResponse",
    "OnOutcome",
    "OperateCall",
    "Operation",
    "OperationKind",
    "StreamLimits",
    "kinds_of",
]
