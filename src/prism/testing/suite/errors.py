"""Group Errors: what is refused, and what is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prism.ports import (
    Capability,
    DrainReport,
    Entry,
    FullKeyValue,
    Internal,
    InvalidArgument,
    Outcome,
    PrismError,
    Put,
    VersionConflict,
)
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.closed import Closed
from prism.testing.suite.group import NOT_REACHABLE, group, needs
from prism.testing.suite.operations import (
    EVERY_KEYED_OPERATION,
    EVERY_OPERATION,
    SampleOperation,
)
from prism.testing.suite.wrapper import DriverWrapper, OperationBlocker

BAD_KEYS = {
    "empty": "",
    "1025 bytes": "k" * 1025,
    "1025 bytes of many-byte characters": "é" * 512 + "k",
    "513 characters of two bytes": "é" * 513,
    "lone high surrogate": "a\ud83d",
    "lone low surrogate": "\udd11a",
    "surrogates the wrong way round": "\udd11\ud83d",
}


@group()
class Errors(Closed):
    """One taxonomy, the same for every operation."""

    @EVERY_KEYED_OPERATION
    @pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
    async def test_a_bad_key_is_refused(
        self, backend: Backend, operation: SampleOperation, key: str
    ) -> None:
        operation.skip_unless_declared_by(backend.profile)
        with pytest.raises(InvalidArgument) as refusal:
            await operation.call(backend.kv, key)
        assert refusal.value.message
        if operation.spec.writes:
            assert refusal.value.outcome is Outcome.NOT_APPLIED

    @EVERY_OPERATION
    async def test_a_key_of_1024_bytes_is_not_refused(
        self, backend: Backend, prefix: str, operation: SampleOperation
    ) -> None:
        operation.skip_unless_declared_by(backend.profile)
        key = prefix + "é" * ((1024 - len(prefix)) // 2)
        key += "k" * (1024 - len(key.encode()))
        try:
            await operation.call(backend.kv, key)
        except VersionConflict:
            # Of if_version on an absent key: the key itself was let through.
            assert operation.spec.capability is Capability.COMPARE_AND_SET

    async def test_a_refusal_leaves_the_connection_usable(self, backend: Backend, key: str) -> None:
        for bad in BAD_KEYS.values():
            with pytest.raises(InvalidArgument):
                await backend.kv.set(bad, b"value")
            await backend.kv.set(key, bad.encode("utf-8", "surrogatepass"))
            entry = await backend.kv.get(key)
            assert entry is not None
            assert entry.value == bad.encode("utf-8", "surrogatepass")

    @needs(Capability.BATCH)
    async def test_a_refused_item_leaves_the_connection_usable(
        self, backend: Backend, key: str
    ) -> None:
        over = bytes(backend.profile.limits.max_value_bytes + 1)
        for _ in range(3):
            outcomes = await _set_many(backend.kv, [Put("", b""), Put(key, over), Put(key, b"1")])
            assert [isinstance(outcome, PrismError) for outcome in outcomes] == [True, True, False]
            assert await backend.kv.exists(key) is True

    async def test_a_cancelled_read_leaves_the_connection_usable(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(20)]
        for key in keys:
            await kv.set(key, key.encode())
        for turn in range(60):
            reads = [asyncio.create_task(kv.get(key)) for key in keys[:4]]
            await _cancel_after(turn % 6, reads)
            # Replies that nobody waits for any more must not become another's.
            key = keys[turn % len(keys)]
            entry = await kv.get(key)
            assert entry is not None
            assert entry.value == key.encode()

    async def test_a_cancelled_write_is_applied_or_not(self, kv: FullKeyValue, prefix: str) -> None:
        for turn in range(60):
            key = f"{prefix}{turn % 5}"
            await kv.set(key, b"old")
            await _cancel_after(turn % 6, [asyncio.create_task(kv.set(key, b"new"))])
            entry = await kv.get(key)
            assert entry is not None
            assert entry.value in (b"old", b"new")

    async def test_a_call_that_is_cancelled_ends_at_the_driver_too(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        blocker = OperationBlocker()
        async with open_backend(wrap=blocker.wrap) as backend:
            blocker.block()
            read = asyncio.create_task(backend.kv.get(key))
            await blocker.wait_for(1)
            read.cancel()
            await blocker.wait_for(0)
            blocker.release()
            # Nothing of it is left in flight.
            assert await backend.lifecycle.drain() == DrainReport(completed=0, aborted=0)

    async def test_a_defect_of_a_driver_shows_no_detail(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend(wrap=_Defective) as backend:
            if backend.level is Level.IN_PROCESS:
                pytest.skip(f"{NOT_REACHABLE}errors are mapped where the wire begins")
            with pytest.raises(Internal) as failure:
                await backend.kv.get(key)
            assert "hunter2" not in failure.value.message
            assert failure.value.outcome is Outcome.UNKNOWN
            # The next call finds everything as it was.
            assert await backend.kv.exists(key) is False


class _Defective(DriverWrapper):
    async def get(self, key: str) -> Entry | None:
        raise ZeroDivisionError("password=hunter2")


async def _set_many(kv: FullKeyValue, puts: list[Put]) -> list[Any]:
    return list(await kv.set_many(puts))


async def _cancel_after(turns: int, tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel when the loop has gone round so many times, and see the tasks out."""
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
