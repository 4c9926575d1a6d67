"""KeyValueService.Operate: many independent operations over one stream."""

from prism.adapters.grpc.servicers.operate.kinds import kinds_of
from prism.adapters.grpc.servicers.operate.outcomes import Encoded
from prism.adapters.grpc.servicers.operate.running import Bounds
from prism.adapters.grpc.servicers.operate.stream import OperationStream

__all__ = ["Bounds", "Encoded", "OperationStream", "kinds_of"]
