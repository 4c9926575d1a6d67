"""Failures of `load` and `dump`: repeat a call while the server is full, or give up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from prism.ports import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    Exhausted,
    Internal,
    NotServing,
    PrismError,
    Unauthenticated,
)

Result = TypeVar("Result")

_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)


async def retry_exhausted(call: Callable[[], Awaitable[Result]]) -> Result:
    """Return the result of a call, repeated a few times while the server answers `Exhausted`.

    Safe for writes: a call that is answered `Exhausted` has not been applied.
    """
    for pause_s in _PAUSES_S:
        try:
            return await call()
        except Exhausted:
            await asyncio.sleep(pause_s)
    return await call()


def is_fatal(error: PrismError) -> bool:
    """Return whether the error is about the server, so that the next key would fail as well."""
    return isinstance(
        error,
        NotServing
        | BackendUnavailable
        | BackendTimeout
        | Unauthenticated
        | AccessDenied
        | Internal,
    )
