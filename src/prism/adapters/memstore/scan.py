"""Scans: an index of the keys in order, and the pages that are read from it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prism.kit import clamp_page_size
from prism.ports import Entry, InvalidArgument, Limits, Page

if TYPE_CHECKING:
    from prism.adapters.memstore.store import Store

LEAF_KEYS = 256
"""Maximum size of a leaf of the index. A scan sorts one leaf at a time, in about 20 µs."""

MAX_EXPIRED_PER_PAGE = 1000
"""Number of expired keys after which a page ends, even if it is not full."""


class KeyIndex:
    """Keys in code-point order: a two-level B+ tree with sorted bounds and unsorted leaves.

    A `SortedList` is slower here: the garbage collector visits every key in its lists, and
    a full collection then takes 27 ms at a million keys. The collector does not look into a
    dict that holds only text and None, so it skips these leaves. They are also faster to
    change, because no key in them has to move.
    """

    def __init__(self) -> None:
        # Leaf i holds the keys >= bounds[i] and < bounds[i + 1].
        self._bounds = [""]
        self._leaves: list[dict[str, None]] = [{}]

    def add(self, key: str) -> None:
        """Add a key; no effect when the index has it."""
        position = bisect_right(self._bounds, key) - 1
        leaf = self._leaves[position]
        leaf[key] = None
        if len(leaf) > LEAF_KEYS:
            self._split(position)

    def discard(self, key: str) -> None:
        """Remove a key; no effect when the index does not have it."""
        position = bisect_right(self._bounds, key) - 1
        leaf = self._leaves[position]
        leaf.pop(key, None)
        if len(leaf) < LEAF_KEYS // 8 and len(self._leaves) > 1:
            self._merge(max(position, 1))

    def since(self, bound: str) -> Iterator[str]:
        """Iterate over the keys >= `bound`, in order; the index must not change meanwhile."""
        position = bisect_right(self._bounds, bound) - 1
        yield from sorted(key for key in self._leaves[position] if key >= bound)
        for later in range(position + 1, len(self._leaves)):
            yield from sorted(self._leaves[later])

    def clear_in_steps(self) -> Iterator[None]:
        """Release the memory, one leaf a step; the index cannot be used afterwards."""
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
        """Join a leaf to the leaf before it, unless the result would soon be split again."""
        before, leaf = self._leaves[position - 1], self._leaves[position]
        if len(before) + len(leaf) > LEAF_KEYS // 2:
            return
        before.update(leaf)
        del self._leaves[position], self._bounds[position]


def read_page(
    store: Store, limits: Limits, *, prefix: str, page_size: int, page_token: str, values: bool
) -> Page:
    """Return a page of a scan. The cost depends on the page, not on the size of the store.

    Args:
        page_token: last key that the page before looked at; empty: from the start.

    Raises:
        InvalidArgument: the token does not begin with the prefix.
    """
    if not page_token.startswith(prefix) and page_token:
        raise InvalidArgument(
            "the page token belongs to a scan with another prefix: begin without a token"
        )
    size = clamp_page_size(page_size, limits)
    keys: list[str] = []
    entries: list[Entry] = []
    expired = page_bytes = 0
    last = page_token
    for key in store.index.since(page_token or prefix):
        if key == page_token:
            continue
        if not key.startswith(prefix):
            break
        if len(keys) == size or expired == MAX_EXPIRED_PER_PAGE:
            return Page(keys, entries if values else None, last)
        entry = store.read(key)
        if entry is None:
            expired += 1
        else:
            if values:
                page_bytes += len(key.encode()) + len(entry.value)
                if keys and page_bytes > limits.max_batch_bytes:
                    return Page(keys, entries, last)
                entries.append(entry)
            keys.append(key)
        last = key
    return Page(keys, entries if values else None, "")
