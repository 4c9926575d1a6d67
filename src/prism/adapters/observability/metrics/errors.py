"""Errors as the value of a label: out of a dozen, whatever a driver raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from prism import ports
from prism.ports import PrismError

_CANCELLED = "Cancelled"
_DEFECT = "Internal"
# Drivers may derive errors of their own, without end; the ports have a dozen.
_KNOWN = frozenset(
    each for each in vars(ports).values() if isinstance(each, type) and issubclass(each, PrismError)
) - {PrismError}


def by_name(failed: Mapping[type[BaseException], int]) -> Counter[str]:
    """The counts by the names of the ports' errors."""
    named: Counter[str] = Counter()
    for error, count in failed.items():
        if issubclass(error, Exception):
            known = next((base.__name__ for base in error.__mro__ if base in _KNOWN), _DEFECT)
        else:
            known = _CANCELLED
        named[known] += count
    return named
