"""Proxy's side of the control stream, which `proto/prism/v1/pattern.proto` describes."""

from prism.adapters.grpc.servicers.pattern_control.control_plane import (
    ControlPlaneOptions,
    PatternControlPlane,
    PatternControlServicer,
)

__all__ = ["ControlPlaneOptions", "PatternControlPlane", "PatternControlServicer"]
