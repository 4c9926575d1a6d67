"""KeyValueService.Operate: many independent operations over one stream."""

from prism.adapters.grpc.servicers.operate.bounds import Bounds
from prism.adapters.grpc.servicers.operate.destinations import RelayHandler, Tell
from prism.adapters.grpc.servicers.operate.kinds import Kind, kinds_of
from prism.adapters.grpc.servicers.operate.operation import Operation, Relayed
from prism.adapters.grpc.servicers.operate.outcomes import Encoded
from prism.adapters.grpc.servicers.operate.stream import OperationStream

__all__ = [
    "Bounds",
    "Encoded",
    "Kind",
    "Operation",
    "OperationStream",
    "RelayHandler",
    "Relayed",
    "Tell",
    "kinds_of",
]
