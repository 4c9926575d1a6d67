"""Which operations a mixed load is made of, and how often each comes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

OPERATIONS = ("get", "set", "delete", "incr")

# Drawing many at once costs a tenth of drawing one by one.
_DRAWN_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Mix:
    """Weights above zero, by operation; only their ratios mean anything."""

    weights: Mapping[str, int]

    def __str__(self) -> str:
        return ",".join(f"{name}={weight}" for name, weight in self.weights.items())

    def drawn(self, source: random.Random) -> Iterator[str]:
        """Operations for ever, each as often as its weight says."""
        names, weights = list(self.weights), list(self.weights.values())
        while True:
            yield from source.choices(names, weights, k=_DRAWN_AT_ONCE)


def parse_mix(text: str) -> Mix:
    """From text such as `get=80,set=20`; raises ValueError that says what is wrong."""
    weights: dict[str, int] = {}
    for part in text.split(","):
        name, _, weight = (piece.strip() for piece in part.partition("="))
        if name not in OPERATIONS:
            raise ValueError(f"{name!r} is no operation; there are {', '.join(OPERATIONS)}")
        if name in weights:
            raise ValueError(f"{name} is given twice")
        if not (weight.isascii() and weight.isdigit()):
            raise ValueError(f"{part.strip()!r} is not OPERATION=WEIGHT, such as get=80")
        weights[name] = int(weight)
    positive = {name: weight for name, weight in weights.items() if weight}
    if not positive:
        raise ValueError("no operation has a weight above 0")
    return Mix(positive)
