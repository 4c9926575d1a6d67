"""Settings of a proxy; each pattern adds the settings of its driver."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from prism.bootstrap.setting_checks import InvalidSetting
from prism.bootstrap.settings import REDIS, Groups, PatternBy, ServerSettings
from prism.domain.patterns.values import PatternPolicy
from prism.ports import setting

_POLICY = PatternPolicy()

# The start of a proxy waits up to twice as long, and must end within a minute.
_LONGEST_START = timedelta(seconds=25)


@dataclass(frozen=True, slots=True)
class ProxySettings(ServerSettings):
    """Settings of a proxy itself; each has its help."""

    GROUPS: ClassVar[Groups] = {
        **ServerSettings.GROUPS,
        REDIS: (*ServerSettings.GROUPS[REDIS], "resp_pattern_by"),
        "Proxy": (
            "default_pattern",
            "pattern_wait",
            "start_timeout",
            "health_interval",
            "terminate_after",
        ),
    }

    default_pattern: str | None = setting(
        None, help="Pattern that serves calls that name none (default: the first)."
    )
    resp_pattern_by: PatternBy = setting(
        "database",
        help="How Redis clients choose a pattern: by the number in SELECT, in the order in which "
        "the patterns are configured, or by the user name in AUTH.",
    )
    pattern_wait: bool = setting(
        False,
        help="Let calls to a restarting pattern wait within their deadline instead of failing.",
    )
    start_timeout: timedelta = setting(
        _POLICY.start_timeout, help="Time for the process of a pattern to register."
    )
    health_interval: timedelta = setting(
        _POLICY.health_interval, help="Time between health checks of a pattern."
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
                f"start_timeout must be at most {_LONGEST_START.seconds} s",
            )

        if self.resp_pattern_by != "database" and not self.serves_resp:
            raise InvalidSetting(
                "resp_pattern_by", "resp_pattern_by needs resp_port or resp_socket"
            )

    @property
    def pattern_policy(self) -> PatternPolicy:
        """Times and limits of every pattern."""
        return PatternPolicy(
            start_timeout=self.start_timeout,
            health_interval=self.health_interval,
            terminate_after=self.terminate_after,
            max_in_flight=self.max_in_flight,
            max_per_connection=self.max_in_flight_per_connection,
            max_watches=self.max_watches,
            limits=self.limits,
        )
