"""Tests of the suite that hang: the message, and the backend of the tests after them."""

from __future__ import annotations

import asyncio

import pytest

from prism.adapters.memstore import DRIVER
from prism.ports import FullKeyValue
from prism.testing import Backend, DriverWrapper
from prism.testing.levels import in_process
from prism.testing.suite.group import SharedBackend
from prism.testing.suite.timing import TimeLimitExceeded, time_limit


class Hangs(DriverWrapper):
    """Driver whose `exists` never answers."""

    async def exists(self, key: str) -> bool:
        await asyncio.Event().wait()
        return False


async def _ask(kv: FullKeyValue) -> bool:
    return await kv.exists("key")


async def test_a_time_limit_names_the_operation_the_bound_and_the_innermost_call() -> None:
    async with in_process(DRIVER)(wrap=Hangs) as backend:
        with pytest.raises(TimeLimitExceeded) as failure:
            async with time_limit(0.05, "exists of a key"):
                await _ask(backend.kv)
    message = str(failure.value)
    assert "exists of a key did not finish within 0.05 s" in message
    assert "await asyncio.Event().wait()" in message or "await fut" in message


async def test_a_timeout_inside_the_body_stays_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with time_limit(5.0):
            raise TimeoutError


async def test_a_backend_is_replaced_after_a_test_that_hung() -> None:
    shared = SharedBackend(in_process(DRIVER))
    await shared.open()
    first: Backend = shared.backend
    await first.kv.set("key", b"value")
    await shared.replace()
    assert shared.backend is not first
    assert await shared.backend.kv.exists("key") is False
    await shared.close()
