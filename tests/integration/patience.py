"""Calls with a short timeout on a busy machine, where also an answer may come too late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TypeVar

from prism.ports import BackendTimeout
from prism.testing import Backend

Result = TypeVar("Result")


async def answer_to(call: Callable[[], Awaitable[Result]]) -> Result:
    """Return the first answer that comes in time; the call may have been sent more than once."""
    while True:
        try:
            return await call()
        except BackendTimeout:
            continue


@asynccontextmanager
async def opened(
    open_driver: Callable[..., AbstractAsyncContextManager[Backend]], url: str, **settings: str
) -> AsyncIterator[Backend]:
    """Open a driver with a short timeout, which is also that of opening."""
    async with AsyncExitStack() as stack:
        yield await answer_to(lambda: stack.enter_async_context(open_driver(url, **settings)))
