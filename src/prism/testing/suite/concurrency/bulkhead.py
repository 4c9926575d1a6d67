"""Category 4: who is slow holds up nobody else, and there is a bound on what is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from prism.ports import Exhausted, FullKeyValue, Outcome
from prism.testing.suite.backend import OpenBackend
from prism.testing.suite.group import NOT_REACHABLE, Group, group
from prism.testing.suite.timing import time_limit
from prism.testing.suite.wrapper import OperationBlocker

BEYOND = 20
SLOW = 50
_SECONDS = 10.0


@group()
class Bulkhead(Group):
    """Operations that wait at a blocker, and others beside them."""

    async def test_slow_operations_do_not_hold_up_others(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _waiting(backend.kv, blocker, prefix, SLOW) as slow,
        ):
            await blocker.wait_for(SLOW)
            async with time_limit(_SECONDS):
                for number in range(SLOW):
                    assert await backend.kv.exists(f"{prefix}other {number}") is False
            assert not any(each.done() for each in slow)

    async def test_no_more_than_the_bound_is_in_flight_and_the_rest_is_refused(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with open_backend(wrap=blocker.wrap) as backend:
            bound = backend.max_in_flight
            async with _waiting(backend.kv, blocker, prefix, bound) as admitted:
                await blocker.wait_for(bound)
                for number in range(BEYOND):
                    with pytest.raises(Exhausted) as refusal:
                        await backend.kv.set(f"{prefix}beyond {number}", b"value")
                    assert refusal.value.outcome is Outcome.NOT_APPLIED
                assert blocker.blocked == bound
                blocker.release()
                await asyncio.gather(*admitted)
            # Whoever was refused may come again.
            assert await backend.kv.exists(f"{prefix}beyond 0") is False
            await backend.kv.set(f"{prefix}beyond 0", b"value")

    async def test_a_saturated_connection_does_not_starve_another(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with open_backend(wrap=blocker.wrap) as backend:
            if backend.connect is None:
                pytest.skip(f"{NOT_REACHABLE}there are no connections")
            async with (
                backend.connect() as other,
                _waiting(backend.kv, blocker, prefix, backend.max_in_flight),
            ):
                await blocker.wait_for(backend.max_in_flight)
                with pytest.raises(Exhausted):
                    await backend.kv.exists(f"{prefix}any")
                async with time_limit(_SECONDS):
                    for number in range(BEYOND):
                        assert await other.exists(f"{prefix}other {number}") is False


@asynccontextmanager
async def _waiting(
    kv: FullKeyValue, blocker: OperationBlocker, prefix: str, count: int
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """So many writes on keys of their own, which wait until the blocker opens."""
    blocker.block()
    writes = [asyncio.create_task(kv.set(f"{prefix}{number}", b"v")) for number in range(count)]
    try:
        yield writes
    finally:
        blocker.release()
        await asyncio.gather(*writes, return_exceptions=True)
