"""Numbers as canonical decimal text."""

from __future__ import annotations

import re

from prism.ports import PreconditionFailed

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

_CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")


def add(stored: bytes, delta: int) -> int:
    """The stored number plus `delta`.

    Raises:
        PreconditionFailed: `NOT_AN_INTEGER`, or `OVERFLOW`.
    """
    number = int(stored) if _CANONICAL.fullmatch(stored) else None
    if number is None or not _INT64_MIN <= number <= _INT64_MAX:
        raise PreconditionFailed(
            "the value is not a 64-bit integer in canonical decimal text", reason="NOT_AN_INTEGER"
        )
    total = number + delta
    if not _INT64_MIN <= total <= _INT64_MAX:
        raise PreconditionFailed(
            f"{number} plus {delta} does not fit a signed 64-bit integer", reason="OVERFLOW"
        )
    return total
