"""Calls of the tests, each with a time limit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import cast

from prism.ports import OPERATIONS, Event, FullKeyValue
from prism.testing.suite.timing import TimeLimitExceeded, time_limit

CALL_SECONDS = 10.0
"""Limit of one call, scaled by `timeout_factor`."""

_SHOWN = 80


class CallWatch:
    """Observes the calls of one backend.

    Attributes:
        hung: whether a call exceeded its time limit, so that the backend may be unusable.
    """

    hung = False

    def wrap(self, kv: FullKeyValue) -> FullKeyValue:
        """Return the same operations, each with the time limit."""
        return cast("FullKeyValue", _ObservedKeyValue(kv, self))


class _ObservedKeyValue:
    """Every operation; the methods are made below from the table of operations."""

    def __init__(self, kv: FullKeyValue, calls: CallWatch) -> None:
        self.kv = kv
        self.calls = calls

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self.kv.watch(prefix)


def _observed(name: str) -> Callable[..., Awaitable[object]]:
    async def call(self: _ObservedKeyValue, *args: object, **kwargs: object) -> object:
        try:
            async with time_limit(CALL_SECONDS, f"{name}({_shown(args)})"):
                return await getattr(self.kv, name)(*args, **kwargs)
        except TimeLimitExceeded:
            self.calls.hung = True
            raise

    call.__name__ = name
    return call


def _shown(args: tuple[object, ...]) -> str:
    """Return the first argument, which is the key, the keys or the prefix."""
    text = repr(args[0]) if args else ""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


for _name in OPERATIONS:
    if _name != "watch":
        setattr(_ObservedKeyValue, _name, _observed(_name))
