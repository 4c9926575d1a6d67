"""Commands that count."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from decimal import Decimal
from fractions import Fraction
from typing import Any

from prism.adapters.resp.arguments import integer_of
from prism.adapters.resp.command import Spec
from prism.adapters.resp.errors import CommandError
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import bulk, integer
from prism.adapters.resp.session import Session
from prism.adapters.resp.updates import Write, update
from prism.ports import INT64_MIN, Count, Entry

_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_INFINITE = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_LONGEST_NUMBER = 256
_NOT_A_FLOAT = "ERR value is not a valid float"
_NOT_FINITE = "ERR increment would produce NaN or Infinity"

# Redis adds numbers of 80 bits, as x86 has them: 64 for the digits, 15 for the exponent.
_DIGITS = 64
_LARGEST = Fraction(2) ** 16384

_PLACES = 17
"""Decimal places that Redis prints, less the zeros at the end."""


def _count_of(count: Count, session: Session) -> bytes:
    return integer(count.value)


def _incr(session: Session, arguments: Arguments) -> Coroutine[Any, Any, Count]:
    return session.gateway.increment(arguments[1].decode(), 1)


def _decr(session: Session, arguments: Arguments) -> Coroutine[Any, Any, Count]:
    return session.gateway.increment(arguments[1].decode(), -1)


def _incrby(session: Session, arguments: Arguments) -> Coroutine[Any, Any, Count]:
    return session.gateway.increment(arguments[1].decode(), integer_of(arguments[2]))


def _decrby(session: Session, arguments: Arguments) -> Coroutine[Any, Any, Count]:
    delta = integer_of(arguments[2])
    if delta == INT64_MIN:
        raise CommandError("ERR decrement would overflow")
    return session.gateway.increment(arguments[1].decode(), -delta)


async def _incrbyfloat(session: Session, arguments: Arguments) -> bytes:
    delta = _number_of(arguments[2])
    total = b""

    def change(entry: Entry | None) -> Write:
        nonlocal total
        number = Fraction(0) if entry is None else _number_of(entry.value)
        result = _rounded(number + delta)
        if abs(result) >= _LARGEST:
            raise CommandError(_NOT_FINITE)
        total = _text_of(result)
        return Write(total)

    await update(session.gateway, arguments[1].decode(), change)
    return bulk(total)


def _number_of(text: bytes) -> Fraction:
    if _INFINITE.fullmatch(text) is not None:
        raise CommandError(_NOT_FINITE)
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        raise CommandError(_NOT_A_FLOAT)
    number = _rounded(Fraction(text.decode()))
    if abs(number) >= _LARGEST:
        raise CommandError(_NOT_A_FLOAT)
    return number


def _rounded(number: Fraction) -> Fraction:
    """Return the nearest number that has 64 binary digits."""
    size = number.numerator.bit_length() - number.denominator.bit_length()
    shift = _DIGITS - size
    digits = round(number * Fraction(2) ** shift)
    if digits.bit_length() > _DIGITS:
        shift -= 1
        digits = round(number * Fraction(2) ** shift)
    return Fraction(digits) / Fraction(2) ** shift


def _text_of(number: Fraction) -> bytes:
    scaled = round(abs(number) * 10**_PLACES)
    # The conversion of an int to text has a limit of digits, which these numbers exceed.
    digits = str(Decimal(scaled)).zfill(_PLACES + 1)
    text = f"{digits[:-_PLACES]}.{digits[-_PLACES:]}".rstrip("0").rstrip(".")
    return b"%b%b" % (b"-" if number < 0 and scaled else b"", text.encode())


_FLAGS = ("write", "denyoom", "fast")

COMMANDS = (
    Spec(
        name="incr",
        arity=2,
        summary="Adds one to the number of a key.",
        group="string",
        since="1.0.0",
        flags=_FLAGS,
        start=_incr,
        encode=_count_of,
    ),
    Spec(
        name="decr",
        arity=2,
        summary="Subtracts one from the number of a key.",
        group="string",
        since="1.0.0",
        flags=_FLAGS,
        start=_decr,
        encode=_count_of,
    ),
    Spec(
        name="incrby",
        arity=3,
        summary="Adds to the number of a key.",
        group="string",
        since="1.0.0",
        flags=_FLAGS,
        start=_incrby,
        encode=_count_of,
    ),
    Spec(
        name="decrby",
        arity=3,
        summary="Subtracts from the number of a key.",
        group="string",
        since="1.0.0",
        flags=_FLAGS,
        start=_decrby,
        encode=_count_of,
    ),
    Spec(
        name="incrbyfloat",
        arity=3,
        summary="Adds to the number of a key.",
        group="string",
        since="2.6.0",
        flags=_FLAGS,
        start=_incrbyfloat,
    ),
)
