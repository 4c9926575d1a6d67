"""Numbers with a noun, for messages."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `0 keys`, `1 key`, `1,234 keys`.

    Args:
        noun: one of what is counted.
        plural: several of them; empty: the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
