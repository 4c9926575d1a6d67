"""What holds for every stream of operations."""

from __future__ import annotations

from dataclasses import dataclass, field

from prism.adapters.grpc.request_log import RequestLog


@dataclass(frozen=True, slots=True)
class Bounds:
    """The same for each.

    Attributes:
        default_timeout_s: of operations that come without one.
        max_message_bytes: of one message with outcomes.
        log: is told of operations that fail or are slow.
    """

    default_timeout_s: float
    max_message_bytes: int
    log: RequestLog = field(default_factory=RequestLog)
