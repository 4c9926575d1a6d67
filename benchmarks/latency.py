"""Latency against load: each server with one call in flight, then with two, with four, …"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

from benchmarks.processes import Cores, Variant
from benchmarks.rounds import WARM_UP_S, in_turn, others_of
from benchmarks.sides import Place
from benchmarks.wire import H2load, Load, verify


@dataclass(frozen=True, slots=True)
class Answered:
    """How many calls were answered in a second, and within what time half and 99 % of them."""

    calls_s: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class LatencyAgainstLoad:
    """Servers under h2load, which notes when each call was sent and answered.

    Attributes:
        load: with one call in flight or any number.
        seconds_share: of what a measurement may take; there are many.
    """

    servers: Sequence[Variant]
    load: Load
    in_flight: Sequence[int]
    key: str = "latency"
    name: str = "latency against load"
    seconds_share: float = 0.5

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, tell: Callable[[str], None]
    ) -> dict[str, Any]:
        """Each server's points, by their medians and round by round."""
        seconds *= self.seconds_share
        with ExitStack() as stack:
            place = Place(stack, cores)
            loaded = [self._loaded(place, server) for server in self.servers]
            for open_load in loaded:
                open_load(max(self.in_flight)).rate(WARM_UP_S)
            kept = in_turn(
                [
                    partial(_answered, open_load(in_flight), seconds)
                    for in_flight in self.in_flight
                    for open_load in loaded
                ],
                place,
                rounds=rounds,
                tell=tell,
            )
        # By in-flight and then by server, as they were measured.
        points = list(map(_point, zip(*(each.figures for each in kept), strict=True)))
        return {
            "seconds": seconds,
            "others": others_of(kept),
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

    def _loaded(self, place: Place, server: Variant) -> Callable[[int], H2load]:
        address = place.server(server)
        reply_bytes = verify(address, self.load)
        return lambda in_flight: H2load(
            address, replace(self.load, in_flight=in_flight), reply_bytes, place.cores.load
        )


def percentile(ordered: Sequence[int], percent: float) -> int:
    """The least of them that so many are not above; of one or more, the least first."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _answered(load: H2load, seconds: float) -> Answered:
    took_us = load.latencies(seconds)
    return Answered(len(took_us) / seconds, percentile(took_us, 50), percentile(took_us, 99))


def _point(rounds: Sequence[Answered]) -> dict[str, Any]:
    by_figure = {name: [getattr(each, name) for each in rounds] for name in Answered.__slots__}
    return {name: median(figures) for name, figures in by_figure.items()} | {"rounds": by_figure}
