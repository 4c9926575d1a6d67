"""Figures over a range, which become curves: latency against load, cost against keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any, Protocol

from benchmarks.h2load import H2load, Load, verify
from benchmarks.processes import Cores, ServerCommand
from benchmarks.rounds import WARM_UP_S, Spread, at_once, average_foreign_load, measure_rounds
from benchmarks.rows import BARE_GRPC, MANY_GETS, PRISM
from benchmarks.sides import MeasurementContext, RandomGets

MAX_ROUNDS = 3
"""Fewer rounds than for rows: a curve has many points, and no floor."""

Json = dict[str, Any]


class Series(Protocol):
    """One or more curves."""

    @property
    def key(self) -> str:
        """Name in the JSON file."""

    @property
    def name(self) -> str:
        """Name for people."""

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, progress: Callable[[str], None]
    ) -> Json:
        """Measure the curves and return them as JSON; raises CannotRun."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Calls per second and percentiles of their duration."""

    calls_s: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class LatencyAgainstLoad:
    """Latency of servers under h2load, with more and more calls in flight.

    Attributes:
        servers: servers to compare.
        load: request to send.
        in_flight: numbers of calls in flight.
        key: name in the JSON file.
        name: name for people.
        seconds_share: fraction of the usual time of a measurement, because there are many.
    """

    servers: Sequence[ServerCommand]
    load: Load
    in_flight: Sequence[int]
    key: str = "latency"
    name: str = "latency against load"
    seconds_share: float = 0.5

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, progress: Callable[[str], None]
    ) -> Json:
        """Measure each server at each load; return medians and the figures of each round."""
        seconds *= self.seconds_share
        with ExitStack() as stack:
            context = MeasurementContext(stack, cores)
            loads = [self._load_of(context, server) for server in self.servers]
            for load_with in loads:
                load_with(max(self.in_flight)).rate(WARM_UP_S)
            kept = measure_rounds(
                [
                    partial(_latencies, load_with(in_flight), seconds)
                    for in_flight in self.in_flight
                    for load_with in loads
                ],
                context,
                rounds=rounds,
                progress=progress,
            )
        # Ordered by calls in flight, then by server, as measured.
        points = list(map(_latency_point, zip(*(each.figures for each in kept), strict=True)))
        return {
            "seconds": seconds,
            "foreign_load": average_foreign_load(kept),
            "servers": [
                {
                    "name": server.name,
                    "settings": f"{server.settings}; h2load: {self.load.method}, 1 connection",
                    "points": [
                        {"in_flight": in_flight, **point}
                        for in_flight, point in zip(
                            self.in_flight, points[number :: len(self.servers)], strict=True
                        )
                    ],
                }
                for number, server in enumerate(self.servers)
            ],
        }

    def _load_of(
        self, context: MeasurementContext, server: ServerCommand
    ) -> Callable[[int], H2load]:
        address = context.server(server).address
        reply_bytes = verify(address, self.load)
        return lambda in_flight: H2load(
            address, replace(self.load, in_flight=in_flight), reply_bytes, context.cores.load
        )


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Return the percentile of at least one figure, in ascending order."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _latencies(load: H2load, seconds: float) -> Latencies:
    durations_us = load.latencies(seconds)
    return Latencies(
        len(durations_us) / seconds, percentile(durations_us, 50), percentile(durations_us, 99)
    )


def _latency_point(rounds: Sequence[Latencies]) -> Json:
    by_figure = {name: [getattr(each, name) for each in rounds] for name in Latencies.__slots__}
    return {name: median(figures) for name, figures in by_figure.items()} | {"rounds": by_figure}


@dataclass(frozen=True, slots=True)
class CostAgainstKeys:
    """Gets per second of processor time, relative to the server with the fewest keys.

    All servers are measured at once: see `Row.at_once`.

    Attributes:
        server: server to fill.
        keys: numbers of keys.
        key: name in the JSON file.
        name: name for people.
    """

    server: ServerCommand
    keys: Sequence[int]
    key: str = "keys"
    name: str = "cost against number of keys"

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, progress: Callable[[str], None]
    ) -> Json:
        """Return a point for each number of keys, with the median of the ratios of the rounds."""
        sides = [RandomGets(self.server, keys) for keys in self.keys]
        with ExitStack() as stack:
            context = MeasurementContext(stack, cores)
            measures = [side.open(context) for side in sides]
            for measure in measures:
                measure(WARM_UP_S)
            kept = measure_rounds(
                [partial(measure, seconds) for measure in measures],
                context,
                rounds=rounds,
                run_round=at_once,
                progress=progress,
            )
        gets_s = list(zip(*(each.figures for each in kept), strict=True))
        return {
            "seconds": seconds,
            "foreign_load": average_foreign_load(kept),
            "settings": sides[0].settings,
            "points": [
                _keys_point(keys, figures, gets_s[0])
                for keys, figures in zip(self.keys, gets_s, strict=True)
            ],
        }


def _keys_point(keys: int, gets_s: Sequence[float], first: Sequence[float]) -> Json:
    ratio = Spread.of([a / b for a, b in zip(gets_s, first, strict=True)])
    return {
        "keys": keys,
        "gets_s": Spread.of(gets_s).median,
        "ratio": ratio.median,
        "min": ratio.least,
        "max": ratio.most,
        "rounds": list(gets_s),
    }


SERIES: list[Series] = [
    LatencyAgainstLoad((PRISM, BARE_GRPC), MANY_GETS, in_flight=[2**power for power in range(9)]),
    CostAgainstKeys(PRISM, keys=(1_000, 10_000, 100_000, 1_000_000)),
]
