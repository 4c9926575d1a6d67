"""What a long run does about failures: wait for room, or give up."""

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


async def when_there_is_room(call: Callable[[], Awaitable[Result]]) -> Result:
    """Call again, a few times, while the server refuses the call as one too many.

    Safe for writes: what is refused as `Exhausted` has not been applied.
    """
    for pause_s in _PAUSES_S:
        try:
            return await call()
        except Exhausted:
            await asyncio.sleep(pause_s)
    return await call()


def ends_everything(error: PrismError) -> bool:
    """Whether the error is about the server, so that the next item has no better chance."""
    return isinstance(
        error,
        NotServing
        | BackendUnavailable
        | BackendTimeout
        | Unauthenticated
        | AccessDenied
        | Internal,
    )
