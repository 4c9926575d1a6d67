"""How a stream ended, which grpc.aio may say wrongly."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import grpc

Result = TypeVar("Result")

_OVERWRITTEN = "Internal error from Core"
_STATUS_FOLLOWS_WITHIN_S = 1.0


class Ending:
    """The status that a call ended with.

    When the server ends a stream while a message is being written, grpc.aio puts an
    INTERNAL of its own in the place of the server's status, before or after that
    arrives: https://github.com/grpc/grpc/issues/36066. It tells of each as it comes,
    so the real one can be seen.
    """

    def __init__(self, call: Any) -> None:
        self._real: asyncio.Future[grpc.aio.AioRpcError] = (
            asyncio.get_running_loop().create_future()
        )
        call.add_done_callback(self._note)

    async def of(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """What the error, raised by the call, should have been."""
        if error.details() != _OVERWRITTEN:
            return error
        with suppress(TimeoutError):
            async with asyncio.timeout(_STATUS_FOLLOWS_WITHIN_S):
                return await asyncio.shield(self._real)
        return error

    def _note(self, call: Any) -> None:
        code, details = _now(call.code()), _now(call.details())
        trailers = _now(call.trailing_metadata())
        if self._real.done() or code is None or trailers is None or details == _OVERWRITTEN:
            return
        self._real.set_result(
            grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, details=details)
        )


def _now(answer: Coroutine[Any, Any, Result]) -> Result | None:
    """What a coroutine returns without waiting, as these do once the call is done."""
    try:
        answer.send(None)
    except StopIteration as returned:
        result: Result = returned.value
        return result
    answer.close()
    return None
