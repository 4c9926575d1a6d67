"""KeyValueService.Operate: many independent operations over one stream."""

from prism.adapters.grpc.servicers.operate.operation import (
    Operation,
    OperationKind,
    RelayedOutcomes,
    StreamLimits,
    kinds_of,
)
from prism.adapters.grpc.servicers.operate.responses import EncodedResponse
from prism.adapters.grpc.servicers.operate.stream import OperateCall

__all__ = [
    "EncodedResponse",
    "OperateCall",
    "Operation",
    "OperationKind",
    "RelayedOutcomes",
    "StreamLimits",
    "kinds_of",
]
