"""KeyValueService.Operate: many independent operations over one stream."""

from prism.adapters.grpc.servicers.operate.bounds import Bounds
from prism.adapters.grpc.servicers.operate.kinds import Kind, Relayed, RelayHandler, Tell, kinds_of
from prism.adapters.grpc.servicers.operate.outcomes import Encoded
from prism.adapters.grpc.servicers.operate.stream import OperationStream

__all__ = [
    "Bounds",
    "Encoded",
    "Kind",
    "OperationStream",
    "RelayHandler",
    "Relayed",
    "Tell",
    "kinds_of",
]
