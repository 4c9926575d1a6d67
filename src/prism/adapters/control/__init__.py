"""Pattern's side of the control stream, which `proto/prism/v1/pattern.proto` describes."""

from prism.adapters.control.client import GONE_AFTER, ControlClient, registration_message

__all__ = ["GONE_AFTER", "ControlClient", "registration_message"]
