"""The keys in code-point order, for scans."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

LEAF_KEYS = 256
"""A leaf that outgrows this is split: what a scan sorts at a time, some 20 µs."""


class KeyIndex:
    """A B+ tree of two levels: sorted bounds, and under each a leaf of unsorted keys.

    Not a `SortedList`: the garbage collector visits every key in its lists, and a
    full collection then takes 27 ms at a million keys. It never looks into a dict
    that holds nothing but text and None, so that these leaves cost it nothing; they
    are also quicker to change, as nothing in them moves.
    """

    def __init__(self) -> None:
        # Leaf i holds what is >= bounds[i] and < bounds[i + 1].
        self._bounds = [""]
        self._leaves: list[dict[str, None]] = [{}]

    def add(self, key: str) -> None:
        """Take up a key, if it is not in the index yet."""
        position = bisect_right(self._bounds, key) - 1
        leaf = self._leaves[position]
        leaf[key] = None
        if len(leaf) > LEAF_KEYS:
            self._split(position)

    def discard(self, key: str) -> None:
        """Drop a key, if it is in the index."""
        position = bisect_right(self._bounds, key) - 1
        leaf = self._leaves[position]
        leaf.pop(key, None)
        if len(leaf) < LEAF_KEYS // 8 and len(self._leaves) > 1:
            self._merge(max(position, 1))

    def since(self, bound: str) -> Iterator[str]:
        """The keys >= `bound`, in order; the index must not change meanwhile."""
        position = bisect_right(self._bounds, bound) - 1
        yield from sorted(key for key in self._leaves[position] if key >= bound)
        for later in range(position + 1, len(self._leaves)):
            yield from sorted(self._leaves[later])

    def dismantle(self) -> Iterator[None]:
        """Release the keys, a leaf at a time."""
        while self._leaves:
            self._leaves.pop()
            self._bounds.pop()
            yield

    def _split(self, position: int) -> None:
        keys = sorted(self._leaves[position])
        middle = len(keys) // 2
        self._leaves[position] = dict.fromkeys(keys[:middle])
        self._leaves.insert(position + 1, dict.fromkeys(keys[middle:]))
        self._bounds.insert(position + 1, keys[middle])

    def _merge(self, position: int) -> None:
        """Join a leaf to the one before it, unless they would soon be split again."""
        before, leaf = self._leaves[position - 1], self._leaves[position]
        if len(before) + len(leaf) > LEAF_KEYS // 2:
            return
        before.update(leaf)
        del self._leaves[position], self._bounds[position]
