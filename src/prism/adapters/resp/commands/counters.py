"""Commands that count."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from decimal import Context, Decimal, Overflow
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
_LONGEST_NUMBER = 256
_NOT_A_FLOAT = "ERR value is not a valid float"

# Redis adds 80-bit numbers and prints 17 digits after the point. Numbers in decimal have more
# digits than those, and so the same result wherever Redis's is exact.
_PLACES = Decimal("1e-17")
_ARITHMETIC = Context(prec=5000, Emax=4932, Emin=-4950, traps=[Overflow])


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
    delta = _decimal_of(arguments[2])
    total = b""

    def change(entry: Entry | None) -> Write:
        nonlocal total
        number = Decimal(0) if entry is None else _decimal_of(entry.value)
        try:
            result = _ARITHMETIC.add(number, delta)
        except Overflow:
            raise CommandError("ERR increment would produce NaN or Infinity") from None
        total = _text_of(result)
        return Write(total)

    await update(session.gateway, arguments[1].decode(), change)
    return bulk(total)


def _decimal_of(text: bytes) -> Decimal:
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        raise CommandError(_NOT_A_FLOAT)
    return Decimal(text.decode())


def _text_of(number: Decimal) -> bytes:
    text = format(number.quantize(_PLACES, context=_ARITHMETIC), "f")
    text = text.rstrip("0").rstrip(".")
    return b"0" if text in ("-0", "") else text.encode()


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
