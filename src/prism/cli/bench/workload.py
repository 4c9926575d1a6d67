"""Load of `prism bench`: a weighted mix of operations on keys of its own."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from prism.cli.bench.closed_loop import Draw
from prism.ports import Capability, FullKeyValue, PrismError, Profile, Put

Item = TypeVar("Item")

OPERATIONS = ("get", "set", "delete", "incr")

# Drawing many at once costs a tenth of drawing one by one.
_DRAWN_AT_ONCE = 4096
# For a backend without batches.
_SINGLES_AT_ONCE = 32

OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Mix:
    """Weights above zero, by operation; only their ratios matter."""

    weights: Mapping[str, int]

    def __str__(self) -> str:
        return ",".join(f"{name}={weight}" for name, weight in self.weights.items())

    def draw(self, source: random.Random) -> Iterator[str]:
        """Yield operations without end, at random by weight."""
        names, weights = list(self.weights), list(self.weights.values())
        while True:
            yield from source.choices(names, weights, k=_DRAWN_AT_ONCE)


def parse_mix(text: str) -> Mix:
    """Return the mix that text such as `get=80,set=20` describes; raises ValueError."""
    weights: dict[str, int] = {}
    for part in text.split(","):
        name, _, weight = (piece.strip() for piece in part.partition("="))
        if name not in OPERATIONS:
            raise ValueError(
                f"{name!r} is not an operation; the valid ones are: {', '.join(OPERATIONS)}"
            )
        if name in weights:
            raise ValueError(f"{name} is given twice")
        if not (weight.isascii() and weight.isdigit()):
            raise ValueError(f"{part.strip()!r} is not OPERATION=WEIGHT, such as get=80")
        weights[name] = int(weight)
    positive = {name: weight for name, weight in weights.items() if weight}
    if not positive:
        raise ValueError("no operation has a weight above 0")
    return Mix(positive)


@dataclass(frozen=True, slots=True)
class Workload:
    """One load: a mix of operations, and the keys that it uses.

    Attributes:
        keys: number of keys with a value; if the mix has incr, the same number of counters.
        prefix: start of every key, different in each run.
    """

    mix: Mix
    keys: int
    value: bytes
    ttl: timedelta | None
    prefix: str

    def calls(self, kv: FullKeyValue) -> Draw:
        """Return a function that starts a call: operation by weight, key at random."""
        operations: dict[str, Callable[[int], Awaitable[object]]] = {
            "get": lambda number: kv.get(self._value_key(number)),
            "set": lambda number: kv.set(self._value_key(number), self.value, ttl=self.ttl),
            "delete": lambda number: kv.delete(self._value_key(number)),
            "incr": lambda number: kv.increment(self._count_key(number)),
        }
        source = random.Random()  # noqa: S311
        names = self.mix.draw(source)

        def draw() -> tuple[str, Awaitable[object]]:
            name = next(names)
            return name, operations[name](int(source.random() * self.keys))

        return draw

    async def fill(self, kv: FullKeyValue, profile: Profile, on_progress: OnProgress) -> None:
        """Write every value once, so that reads find one.

        Args:
            on_progress: called with the number of keys written so far.

        Raises:
            PrismError: the first error.
        """
        puts = [Put(self._value_key(n), self.value, self.ttl) for n in range(self.keys)]
        for end, part in _parts(puts, profile, len(self.prefix) + 16 + len(self.value)):
            if Capability.BATCH in profile.capabilities:
                _raise_first(await kv.set_many(part))
            else:
                await asyncio.gather(*(kv.set(put.key, put.value, ttl=put.ttl) for put in part))
            on_progress(end)

    async def clear(self, kv: FullKeyValue, profile: Profile, on_progress: OnProgress) -> None:
        """Delete every key that the load may have written; arguments as for `fill`."""
        keys = [self._value_key(number) for number in range(self.keys)]
        if "incr" in self.mix.weights:
            keys += [self._count_key(number) for number in range(self.keys)]
        for end, part in _parts(keys, profile, len(self.prefix) + 16):
            if Capability.BATCH in profile.capabilities:
                _raise_first(await kv.delete_many(part))
            else:
                await asyncio.gather(*(kv.delete(key) for key in part))
            on_progress(end)

    def _value_key(self, number: int) -> str:
        return f"{self.prefix}value:{number}"

    def _count_key(self, number: int) -> str:
        return f"{self.prefix}count:{number}"


def unique_prefix(prefix: str) -> str:
    """Return the prefix with a random part, so that no other run uses it."""
    return f"{prefix}{secrets.token_hex(4)}:"


def _parts(
    items: Sequence[Item], profile: Profile, item_bytes: int
) -> Iterator[tuple[int, Sequence[Item]]]:
    """Yield the items in parts that fit one request, each with the position after it."""
    size = _SINGLES_AT_ONCE
    if Capability.BATCH in profile.capabilities:
        limits = profile.limits
        size = max(1, min(limits.max_batch_items, limits.max_batch_bytes // item_bytes))
    for start in range(0, len(items), size):
        part = items[start : start + size]
        yield start + len(part), part


def _raise_first(outcomes: Sequence[object]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, PrismError):
            raise outcome
