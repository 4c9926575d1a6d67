"""Checks of arguments whose wrong type would show late, or not at all."""

from __future__ import annotations

from datetime import timedelta


def seconds_of(name: str, duration: timedelta) -> float:
    """Return a duration in seconds.

    Raises:
        TypeError: the argument of this name is not a timedelta, but perhaps a number.
    """
    if not isinstance(duration, timedelta):
        raise TypeError(f"{name} is {duration!r}: give a timedelta, as timedelta(seconds=5)")
    return duration.total_seconds()


def empty_value(value: object) -> bytes:
    """Return a value that is false, which must be empty bytes.

    Raises:
        TypeError: it is something else. A message would take None for a value that is not set.
    """
    if value != b"":
        raise TypeError(f"the value is {value!r}: give bytes, or delete the key")
    return b""
