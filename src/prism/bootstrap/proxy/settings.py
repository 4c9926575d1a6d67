"""What a proxy can be told; each pattern adds what its driver can be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from prism.bootstrap.settings import InvalidSetting, ServerSettings
from prism.domain.patterns.values import PatternPolicy
from prism.ports import setting

_POLICY = PatternPolicy()

# A proxy's own start waits twice as long, and has a minute at most.
_LONGEST_START = timedelta(seconds=25)


@dataclass(frozen=True, slots=True)
class ProxySettings(ServerSettings):
    """See each setting's help."""

    default_pattern: str | None = setting(
        None, help="Serves the calls that name no pattern (default: the first)."
    )
    pattern_wait: bool = setting(
        False,
        help="Let calls to a pattern that restarts wait within their deadline, not fail at once.",
    )
    start_timeout: timedelta = setting(
        _POLICY.start_timeout, help="Time for the process of a pattern to call back."
    )
    health_interval: timedelta = setting(
        _POLICY.health_interval, help="Time between two health checks of a pattern."
    )
    terminate_after: timedelta = setting(
        _POLICY.terminate_after,
        help="Time from asking a process to stop to SIGTERM, and from that to SIGKILL.",
    )

    def __post_init__(self) -> None:
        # A class with slots is not the one that `super()` without arguments remembers.
        ServerSettings.__post_init__(self)
        for name in ("start_timeout", "health_interval", "terminate_after"):
            if getattr(self, name) <= timedelta():
                raise InvalidSetting(name, f"{name} must be above zero")
        if self.start_timeout > _LONGEST_START:
            raise InvalidSetting(
                "start_timeout",
                f"start_timeout is above {_LONGEST_START.seconds} s, the longest",
            )
