"""Pattern's side of the control stream, which `proto/prism/v1/pattern.proto` describes."""

from prism.adapters.control.client import ControlClient, registration_message

__all__ = ["ControlClient", "registration_message"]
