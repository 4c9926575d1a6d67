"""The pattern's side of the control stream: `proto/prism/v1/pattern.proto` describes it."""

from prism.adapters.remote.control.client import ControlClient
from prism.adapters.remote.control.messages import registration

__all__ = ["ControlClient", "registration"]
