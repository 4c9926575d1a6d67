"""Cost against the number of keys: random gets of one server with few, of another with many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.processes import Cores, Variant
from benchmarks.rounds import WARM_UP_S, Spread, at_once, in_turn, others_of
from benchmarks.sides import Place, RandomGets


@dataclass(frozen=True, slots=True)
class CostAgainstKeys:
    """Gets for a second of a server's processor time, compared with those of the fewest keys.

    All servers are loaded at once: see `Row.at_once`.
    """

    server: Variant
    keys: Sequence[int]
    key: str = "keys"
    name: str = "cost against number of keys"

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, tell: Callable[[str], None]
    ) -> dict[str, Any]:
        """A point for each number of keys; its ratio is the median of those within each round."""
        sides = [RandomGets(self.server, keys) for keys in self.keys]
        with ExitStack() as stack:
            place = Place(stack, cores)
            measures = [side.open(place) for side in sides]
            for measured in measures:
                measured(WARM_UP_S)
            kept = in_turn(
                [partial(measured, seconds) for measured in measures],
                place,
                rounds=rounds,
                run=at_once,
                tell=tell,
            )
        gets_s = list(zip(*(each.figures for each in kept), strict=True))
        return {
            "seconds": seconds,
            "others": others_of(kept),
            "settings": sides[0].settings,
            "points": [
                _point(keys, figures, gets_s[0])
                for keys, figures in zip(self.keys, gets_s, strict=True)
            ],
        }


def _point(keys: int, gets_s: Sequence[float], first: Sequence[float]) -> dict[str, Any]:
    ratio = Spread.of([a / b for a, b in zip(gets_s, first, strict=True)])
    return {
        "keys": keys,
        "gets_s": Spread.of(gets_s).median,
        "ratio": ratio.median,
        "min": ratio.least,
        "max": ratio.most,
        "rounds": list(gets_s),
    }
