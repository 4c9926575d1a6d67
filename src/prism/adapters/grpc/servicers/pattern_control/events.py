"""What a pattern tells of itself: each event once, and no more of them than are of use."""

from __future__ import annotations

from dataclasses import replace

from prism.adapters.wire.pattern_messages import debug_event_of
from prism.domain.patterns.ports import OnDebugEvent
from prism.domain.token_bucket import TokenBucket
from prism.v1 import pattern_pb2 as pb

# A pattern has bounds of its own; what it held while its stream was broken comes at once.
_PER_SECOND, _BURST = 100.0, 1000
# Whatever numbers a pattern makes up, their sum is to be sent.
_MOST = (1 << 64) - 1


class DebugEvents:
    """Of one session, over all its streams.

    Args:
        on_debug_event: called with each.
    """

    def __init__(self, on_debug_event: OnDebugEvent) -> None:
        self._on_debug_event = on_debug_event
        self._bucket = TokenBucket(_PER_SECOND, _BURST)
        self._last = 0
        self._ignored = 0

    def heard(self, message: pb.DebugEvent) -> None:
        """Tell it, unless it is too much; what is not told is counted as dropped.

        Raises:
            InvalidArgument: it is none.
        """
        # What was on its way when a stream broke may come again, or be more than is kept there.
        if message.sequence <= self._last:
            return
        self._ignored += message.sequence - self._last - 1
        self._last = message.sequence
        event = debug_event_of(message)
        if event is None:
            return
        if not self._bucket.take():
            self._ignored += 1 + event.dropped
            return
        dropped = min(event.dropped + self._ignored, _MOST)
        self._on_debug_event(replace(event, dropped=dropped))
        self._ignored = 0
