"""All patterns of a proxy, behind the `Lifecycle` port of a driver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.domain.patterns.instance import STOP_GRACE, Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.ports import SupervisionPorts
from prism.domain.patterns.values import PatternPolicy, PatternSpec, PatternState, PatternStatus
from prism.domain.tallies import OperationTallies, operation_tallies
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    DrainReport,
    Health,
    HealthStatus,
    InvalidArgument,
    PreconditionFailed,
)


@dataclass(frozen=True, slots=True)
class NoSettings:
    """Settings of the supervisor as a driver: none, because its constructor takes everything."""


class Supervisor:
    """All patterns of a proxy; implements `Lifecycle[NoSettings]`.

    Args:
        default: name of the pattern for calls that name none; empty: the first pattern.
        wait_while_down: calls wait while their pattern does not serve, instead of being refused.

    Attributes:
        default: name of the pattern for calls that name none.
        tallies: counts of the operations on each pattern, by its name.
    """

    def __init__(
        self,
        specs: Sequence[PatternSpec],
        ports: SupervisionPorts,
        policy: PatternPolicy,
        backoff_policy: BackoffPolicy | None = None,
        *,
        default: str = "",
        wait_while_down: bool = False,
    ) -> None:
        self._journal = ports.journal
        self._policy = policy
        # Kept here, so that the counts of a pattern go on when its process is replaced.
        self.tallies = {spec.name: operation_tallies() for spec in specs}
        self._patterns = {
            spec.name: Pattern(
                spec,
                lambda spec: Instance(spec, ports, policy, self.tallies[spec.name]),
                ports.journal,
                Backoff(backoff_policy or BackoffPolicy()),
                redact=ports.redact,
                wait_while_down=wait_while_down,
            )
            for spec in specs
        }
        if not specs or len(self._patterns) < len(specs):
            raise InvalidArgument("a proxy needs at least one pattern, and each needs its own name")
        self.default = default or specs[0].name
        self.find(self.default)

    def __iter__(self) -> Iterator[Pattern]:
        return iter(self._patterns.values())

    @property
    def journal(self) -> Journal:
        """Events of all patterns."""
        return self._journal

    @property
    def operation_tallies(self) -> OperationTallies:
        """Counts of the operations on all patterns, under names such as `sessions get`."""
        return {
            f"{pattern} {operation}": tally
            for pattern, tallies in self.tallies.items()
            for operation, tally in tallies.items()
        }

    def find(self, name: str) -> Pattern:
        """Return the pattern of that name; an empty name stands for the default.

        Raises:
            PreconditionFailed: there is no such pattern.
        """
        found = self._patterns.get(name or self.default)
        if found is None:
            raise PreconditionFailed(
                f"there is no pattern {name!r}; the patterns are: {', '.join(self._patterns)}",
                reason="UNKNOWN_PATTERN",
            )
        return found

    async def initialize(self, settings: NoSettings) -> None:
        """Do nothing: `start` launches the patterns."""

    async def start(self) -> None:
        """Launch all patterns, and wait until each has served or failed once.

        The wait is bounded, and a failed pattern does not keep the others from serving.
        """
        for pattern in self:
            pattern.begin()
        settled = [asyncio.create_task(pattern.settled()) for pattern in self]
        # `start_timeout` bounds the registration; twice as long also covers the start-up.
        await asyncio.wait(settled, timeout=2 * self._policy.start_timeout.total_seconds())
        for task in settled:
            task.cancel()

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        reports = await asyncio.gather(*(each.drain_for_shutdown(timeout) for each in self))
        return DrainReport(
            completed=sum(report.completed for report in reports),
            aborted=sum(report.aborted for report in reports),
        )

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        # Leaves time for SIGTERM and SIGKILL within the timeout.
        rest = timeout - self._policy.terminate_after - 2 * STOP_GRACE
        stop_within = max(rest, timeout / 4)
        await asyncio.gather(*(each.stop(timeout=stop_within) for each in self))

    async def health(self) -> Health:
        """Return healthy if all patterns serve, unhealthy if none does, else degraded."""
        total, serving = len(self._patterns), 0
        details: dict[str, str] = {}
        down: list[str] = []
        for status in (pattern.status for pattern in self):
            serving += _serves(status)
            words = details[f"pattern.{status.name}"] = _describe(status)
            if words != PatternState.SERVING.label:
                down.append(f"{status.name} is {words}")
        if serving == total:
            return Health(
                HealthStatus.HEALTHY,
                "the pattern serves" if total == 1 else f"all {total} patterns serve",
                details,
            )
        because = ", ".join(down)
        if not serving:
            return Health(HealthStatus.UNHEALTHY, f"no pattern serves: {because}", details)
        message = f"{serving} of {total} patterns serve: {because}"
        return Health(HealthStatus.DEGRADED, message, details)


def _serves(status: PatternStatus) -> bool:
    return status.state is PatternState.SERVING and (
        status.health is None or status.health.status is not HealthStatus.UNHEALTHY
    )


def _describe(status: PatternStatus) -> str:
    """Return state and reason, such as `serving, degraded: …`."""
    state, health = status.state.label, status.health
    if status.state is PatternState.SERVING and health is not None:
        if health.status is HealthStatus.HEALTHY:
            return state
        return f"{state}, {health.status}: {health.message}"
    return f"{state}: {status.reason}" if status.reason else state
