"""Parts of messages: numbers with a noun, and lists of names."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `0 keys`, `1 key`, `1,234 keys`.

    Args:
        noun: one of what is counted.
        plural: several of them; empty: the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def nearest_first(name: str, valid: Iterable[str]) -> str:
    """Return the valid names with commas; those that resemble a wrong name come first."""
    # Imported for an error only.
    from difflib import get_close_matches

    names = list(valid)
    close = get_close_matches(name, names)
    return ", ".join([*close, *(other for other in names if other not in close)])
