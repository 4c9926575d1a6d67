"""What holds for every control stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionOptions:
    """How patient a proxy is.

    Attributes:
        heartbeat_interval: of both sides; silence for two of them ends a stream.
        lost_after: how long a pattern whose stream broke may stay away.
        registration_timeout: from the opening of a stream to its first message.
    """

    heartbeat_interval: timedelta = timedelta(seconds=1)
    lost_after: timedelta = timedelta(seconds=5)
    registration_timeout: timedelta = timedelta(seconds=5)
