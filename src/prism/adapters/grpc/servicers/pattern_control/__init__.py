"""The proxy's side of the control stream, which `proto/prism/v1/pattern.proto` describes."""

from prism.adapters.grpc.servicers.pattern_control.options import ReceptionOptions
from prism.adapters.grpc.servicers.pattern_control.reception import PatternReception
from prism.adapters.grpc.servicers.pattern_control.servicer import PatternControlServicer

__all__ = ["PatternControlServicer", "PatternReception", "ReceptionOptions"]
