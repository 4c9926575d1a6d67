"""Keys by slot of time: one level of the timer wheel."""

from __future__ import annotations

from collections.abc import Iterator

from prism.adapters.memstore.shard import SHARDS

PARTS = 64
"""Each slot in so many, for a dict of a million keys would pause to grow. Keys of a part
share few shards, so that dropping one after the other finds these in the cache."""

# Dicts as sets, because the garbage collector visits each member of a set.
Part = dict[str, None]


class Slots:
    """Sets of keys, one for each 2**shift milliseconds that anything in it ends in."""

    def __init__(self, shift: int) -> None:
        self.shift = shift
        self._slots: dict[int, dict[int, Part]] = {}

    def __bool__(self) -> bool:
        return bool(self._slots)

    def __contains__(self, slot: int) -> bool:
        return slot in self._slots

    def add(self, key: str, deadline_ms: int) -> None:
        """Take up a key."""
        slot = deadline_ms >> self.shift
        parts = self._slots.get(slot)
        if parts is None:
            parts = self._slots[slot] = {}
        number = hash(key) % SHARDS % PARTS
        part = parts.get(number)
        if part is None:
            parts[number] = {key: None}
        else:
            part[key] = None

    def discard(self, key: str, deadline_ms: int) -> bool:
        """Drop a key; False when it is not here."""
        slot = deadline_ms >> self.shift
        number = hash(key) % SHARDS % PARTS
        parts = self._slots.get(slot)
        part = parts and parts.get(number)
        if not parts or not part or key not in part:
            return False
        del part[key]
        self._close(slot, parts, number, part)
        return True

    def take(self, slot: int, limit: int) -> list[str]:
        """Remove at most `limit` keys of a slot; none only when it has none."""
        parts = self._slots.get(slot)
        if parts is None:
            return []
        number, part = next(iter(parts.items()))
        keys = [part.popitem()[0] for _ in range(min(limit, len(part)))]
        self._close(slot, parts, number, part)
        return keys

    def keys(self, slot: int) -> Iterator[str]:
        """The keys of a slot, which must not change meanwhile."""
        for part in self._slots.get(slot, {}).values():
            yield from part

    def dismantle(self) -> Iterator[None]:
        """Release the keys, a part at a time."""
        while self._slots:
            _, parts = self._slots.popitem()
            while parts:
                parts.popitem()
                yield

    def _close(self, slot: int, parts: dict[int, Part], number: int, part: Part) -> None:
        """Leave nothing behind where nothing is left."""
        if not part:
            del parts[number]
            if not parts:
                del self._slots[slot]
