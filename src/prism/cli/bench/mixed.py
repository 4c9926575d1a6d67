"""A mixed load on keys of its own: written first, and gone afterwards."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from prism.cli.bench.closed_loop import Draw
from prism.cli.bench.mix import Mix
from prism.ports import Capability, FullKeyValue, PrismError, Profile, Put

Item = TypeVar("Item")

# Where the backend takes them one by one only.
_SINGLES_AT_ONCE = 32

Done = Callable[[int], None]


def _unheard(count: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Workload:
    """What to do, and with which keys.

    Attributes:
        keys: how many hold a value, and how many more hold a number if the mix counts.
        prefix: of all of them; no two runs have the same.
    """

    mix: Mix
    keys: int
    value: bytes
    ttl: timedelta | None
    prefix: str

    def calls(self, kv: FullKeyValue) -> Draw:
        """Draws a call each time: the operation by its weight, the key at random."""
        operations: dict[str, Callable[[int], Awaitable[object]]] = {
            "get": lambda number: kv.get(self._holds_value(number)),
            "set": lambda number: kv.set(self._holds_value(number), self.value, ttl=self.ttl),
            "delete": lambda number: kv.delete(self._holds_value(number)),
            "incr": lambda number: kv.increment(self._holds_count(number)),
        }
        source = random.Random()  # noqa: S311
        names = self.mix.drawn(source)

        def draw() -> tuple[str, Awaitable[object]]:
            name = next(names)
            return name, operations[name](int(source.random() * self.keys))

        return draw

    async def fill(self, kv: FullKeyValue, profile: Profile, done: Done = _unheard) -> None:
        """Write every value once, so that what is read is there.

        Args:
            done: told how many are written.

        Raises:
            PrismError: the first that was met.
        """
        puts = [Put(self._holds_value(n), self.value, self.ttl) for n in range(self.keys)]
        for end, part in _parts(puts, profile, len(self.prefix) + 16 + len(self.value)):
            if Capability.BATCH in profile.capabilities:
                _raise_first(await kv.set_many(part))
            else:
                await asyncio.gather(*(kv.set(put.key, put.value, ttl=put.ttl) for put in part))
            done(end)

    async def clear(self, kv: FullKeyValue, profile: Profile, done: Done = _unheard) -> None:
        """Delete every key that the load may have written; else as `fill`."""
        keys = [self._holds_value(number) for number in range(self.keys)]
        if "incr" in self.mix.weights:
            keys += [self._holds_count(number) for number in range(self.keys)]
        for end, part in _parts(keys, profile, len(self.prefix) + 16):
            if Capability.BATCH in profile.capabilities:
                _raise_first(await kv.delete_many(part))
            else:
                await asyncio.gather(*(kv.delete(key) for key in part))
            done(end)

    def _holds_value(self, number: int) -> str:
        return f"{self.prefix}value:{number}"

    def _holds_count(self, number: int) -> str:
        return f"{self.prefix}count:{number}"


def own_prefix(prefix: str) -> str:
    """Below a prefix that others may use as well, one that nobody else does."""
    return f"{prefix}{secrets.token_hex(4)}:"


def _parts(
    items: Sequence[Item], profile: Profile, item_bytes: int
) -> Iterator[tuple[int, Sequence[Item]]]:
    """What one request takes, each with the position after it."""
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
