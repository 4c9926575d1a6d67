"""Where values lie: dicts that neither growing nor the garbage collector can stall."""

from __future__ import annotations

SHARDS = 251
"""One dict of a million keys pauses for 38 to 94 ms to grow. A prime, because keys
of one shard must not agree in the low bits of their hash, by which its dict finds them."""

VERSION_BITS = 60
"""An int of up to 60 bits takes 32 bytes, a longer one 48."""

VERSION_MASK = (1 << VERSION_BITS) - 1


class Shard:
    """Values by key, and a stamp for each: the version, and above it the deadline, if any.

    Not one dict of tuples: a new tuple makes the garbage collector walk the whole
    dict, 57 ms at a million keys. Dicts of bytes or int alone it never looks into.
    """

    __slots__ = ("stamps", "values")

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.stamps: dict[str, int] = {}
