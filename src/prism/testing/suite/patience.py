"""How long the suite waits for what should come at once, before it says that it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FACTOR: ContextVar[float] = ContextVar("patience", default=1.0)


@contextmanager
def patience(factor: float) -> Iterator[None]:
    """Multiply every wait within the body."""
    token = _FACTOR.set(factor)
    try:
        yield
    finally:
        _FACTOR.reset(token)


def patient(seconds: float) -> float:
    """These seconds, as many times as the test has patience."""
    return seconds * _FACTOR.get()


def bounded(seconds: float) -> asyncio.Timeout:
    """A timeout after these seconds, as many times as the test has patience."""
    return asyncio.timeout(patient(seconds))
