"""Sides that have a NATS server behind them: what is measured is alone on its core."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.processes import run_module
from benchmarks.sides import Measure, Place
from tests.servers.nats import NatsServer


@dataclass(frozen=True, slots=True)
class NatsCallers:
    """A Python client of NATS, 64 callers: calls a second.

    Attributes:
        operation: what `benchmarks.nats_callers` calls it.
    """

    client: str
    operation: str
    built: str

    @property
    def name(self) -> str:
        return f"{self.client}, {self.operation}"

    @property
    def settings(self) -> str:
        return (
            f"{self.built}, default loop; a bucket in memory with direct gets, "
            "nats-server on the core of the load"
        )

    def open(self, place: Place) -> Measure:
        url = place.backend(NatsServer)
        return lambda seconds: run_module(
            "benchmarks.nats_callers",
            *(self.client, self.operation, url, str(seconds)),
            core=place.cores.server,
        )
