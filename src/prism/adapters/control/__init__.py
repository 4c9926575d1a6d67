"""The pattern's side of the control stream: `proto/prism/v1/pattern.proto` describes it."""

from prism.adapters.control.client import ControlClient
from prism.adapters.control.messages import registration

__all__ = ["ControlClient", "registration"]
