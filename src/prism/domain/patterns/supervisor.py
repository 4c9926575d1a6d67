"""All patterns of a proxy, in the shape of a driver's lifecycle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prism.domain.gateway import Gateway
from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.domain.patterns.instance import ANSWER_GRACE, Instance, PatternPolicy, SupervisionPorts
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.values import PatternSpec, PatternState
from prism.domain.tallies import operation_tallies
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
    """A proxy is told everything when it is made."""


class Supervisor:
    """Implements `Lifecycle[NoSettings]`: what a driver is to a server, these are to a proxy.

    Args:
        default: serves the calls that name none; empty: the first.
        waits: calls to a pattern that is restarting wait, instead of being refused.

    Attributes:
        default: by its own name.
        tallies: of the operations through here, by name of the pattern.
    """

    def __init__(
        self,
        specs: Sequence[PatternSpec],
        world: SupervisionPorts,
        terms: PatternPolicy,
        policy: BackoffPolicy | None = None,
        *,
        default: str = "",
        waits: bool = False,
    ) -> None:
        policy = policy or BackoffPolicy()
        self._journal = world.journal
        self._patience = terms.start_timeout
        self._terminate_after = terms.terminate_after
        # One for all processes of a pattern, so that a new one goes on where the old one was.
        self.tallies = {spec.name: operation_tallies() for spec in specs}
        self._supervisors = {
            spec.name: Pattern(
                spec,
                lambda spec: Instance(spec, world, terms, self.tallies[spec.name]),
                world.journal,
                Backoff(policy),
                waits=waits,
                redact=world.redact,
            )
            for spec in specs
        }
        if not specs or len(self._supervisors) < len(specs):
            raise InvalidArgument("a proxy needs one pattern or more, each of another name")
        self.default = default or specs[0].name
        self.find(self.default)

    def __iter__(self) -> Iterator[Pattern]:
        return iter(self._supervisors.values())

    @property
    def journal(self) -> Journal:
        """What has happened to them."""
        return self._journal

    @property
    def names(self) -> Iterable[str]:
        return self._supervisors.keys()

    def find(self, name: str) -> Pattern:
        """The pattern of that name; empty: the default.

        Raises:
            PreconditionFailed: there is none.
        """
        found = self._supervisors.get(name or self.default)
        if found is None:
            raise PreconditionFailed(
                f"there is no pattern {name!r}; there are: {', '.join(self._supervisors)}",
                reason="UNKNOWN_PATTERN",
            )
        return found

    def gateway_of(self, name: str) -> Gateway | None:
        """In front of the pattern of that name; None while it does not serve; else as `find`."""
        return self.find(name).gateway

    async def initialize(self, settings: NoSettings) -> None:
        """Nothing yet: they are launched by `start`."""

    async def start(self) -> None:
        """Launch all, and wait until each has served or failed once, within bounds.

        One that fails does not keep the others from serving: health tells of it.
        """
        for supervisor in self:
            supervisor.begin()
        settled = [asyncio.create_task(supervisor.settled()) for supervisor in self]
        # Its registration has this long, and what follows needs some time too.
        await asyncio.wait(settled, timeout=2 * self._patience.total_seconds())
        for task in settled:
            task.cancel()

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        reports = await asyncio.gather(*(each.leave(timeout) for each in self))
        return DrainReport(
            completed=sum(report.completed for report in reports),
            aborted=sum(report.aborted for report in reports),
        )

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        # Whoever does not stop is terminated and killed, and all that within the time.
        rest = timeout - self._terminate_after - 2 * ANSWER_GRACE
        stop_within = max(rest, timeout / 4)
        await asyncio.gather(*(each.stop(timeout=stop_within) for each in self))

    async def health(self) -> Health:
        """Healthy when every pattern is, unhealthy when none serves well, else degraded."""
        details: dict[str, str] = {}
        well = 0
        for supervisor in self:
            status = supervisor.status
            known = status.health
            serves = status.state is PatternState.SERVING and (
                known is None or known.status is not HealthStatus.UNHEALTHY
            )
            well += serves
            details[f"pattern.{status.name}"] = _in_words(supervisor)
        total = len(self._supervisors)
        if well == total:
            return Health(HealthStatus.HEALTHY, f"all {total} patterns serve", details)
        ill = ", ".join(f"{name} is {what}" for name, what in _unwell(details).items())
        if not well:
            return Health(HealthStatus.UNHEALTHY, f"no pattern serves: {ill}", details)
        return Health(HealthStatus.DEGRADED, f"{well} of {total} patterns serve: {ill}", details)


def _in_words(supervisor: Pattern) -> str:
    status = supervisor.status
    state = status.state.words
    if status.state is PatternState.SERVING and status.health is not None:
        if status.health.status is HealthStatus.HEALTHY:
            return state
        return f"{state}, {status.health.status}: {status.health.message}"
    return f"{state}: {status.reason}" if status.reason else state


def _unwell(details: Mapping[str, Any]) -> dict[str, str]:
    serving = PatternState.SERVING.value
    return {
        name.removeprefix("pattern."): what for name, what in details.items() if what != serving
    }
