"""Arguments of commands: keys, integers, and times."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from prism.adapters.resp.errors import NOT_AN_INTEGER, SYNTAX_ERROR, CommandError
from prism.adapters.resp.parser import Arguments
from prism.ports import INT64_MAX, INT64_MIN, MAX_TTL

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")

_MAX_TTL_MS = MAX_TTL // timedelta(milliseconds=1)


def integer_of(argument: bytes) -> int:
    """Return a signed 64-bit integer."""
    if _INTEGER.fullmatch(argument) is None:
        raise CommandError(NOT_AN_INTEGER)
    number = int(argument)
    if not INT64_MIN <= number <= INT64_MAX:
        raise CommandError(NOT_AN_INTEGER)
    return number


def quoted(argument: bytes) -> str:
    """Return the beginning of an argument, as an error repeats it."""
    return argument[:128].decode("utf-8", "replace")


def keys_of(arguments: Arguments) -> list[str]:
    """Return keys as text."""
    return [argument.decode() for argument in arguments]


def now_ms() -> int:
    """Return the time of this machine, in milliseconds since the Unix epoch."""
    return int(time.time() * 1000)


def ttl_of(number: int, unit_ms: int, command: str, *, since_epoch: bool = False) -> timedelta:
    """Return the time until a key expires, which is above zero unless the time has passed.

    Args:
        number: seconds or milliseconds.
        unit_ms: 1000 for seconds, 1 for milliseconds.
        since_epoch: whether the number is a point of time, not a duration.
    """
    milliseconds = number * unit_ms - (now_ms() if since_epoch else 0)
    if abs(milliseconds) > _MAX_TTL_MS:
        # Redis keeps the point of time, in milliseconds of 64 bits.
        latest = INT64_MAX - (0 if since_epoch else now_ms())
        if not INT64_MIN <= number * unit_ms <= latest:
            raise CommandError(f"ERR invalid expire time in '{command}' command")
        if milliseconds < 0:
            return timedelta(milliseconds=-_MAX_TTL_MS)
        raise CommandError(
            f"ERR invalid expire time in '{command}' command: a key of Prism expires within "
            "100 years"
        )
    return timedelta(milliseconds=milliseconds)


def positive_ttl(
    argument: bytes, unit_ms: int, command: str, *, since_epoch: bool = False
) -> timedelta:
    """Return the time of a command that refuses zero and less; a point of time may have passed."""
    number = integer_of(argument)
    if number <= 0:
        raise CommandError(f"ERR invalid expire time in '{command}' command")
    return ttl_of(number, unit_ms, command, since_epoch=since_epoch)


def option_value(arguments: Arguments, at: int) -> bytes:
    """Return the argument after an option."""
    if at + 1 >= len(arguments):
        raise CommandError(SYNTAX_ERROR)
    return arguments[at + 1]


EXPIRY_OPTIONS = {
    b"EX": (1000, False),
    b"PX": (1, False),
    b"EXAT": (1000, True),
    b"PXAT": (1, True),
}
"""Unit in milliseconds of each option with a time, and whether it is a point of time."""
