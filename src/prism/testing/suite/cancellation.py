"""Group errors, continued: calls that their caller cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import pytest

from prism.ports import (
    Capability,
    Condition,
    DrainReport,
    Entry,
    FullKeyValue,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.group import Group, group, skip_unless_declared
from prism.testing.suite.operations import EVERY_OPERATION, SAMPLES, SampleOperation
from prism.testing.suite.resources import Resources
from prism.testing.suite.timing import LONG, TimeLimitExceeded, time_limit
from prism.testing.suite.wrapper import OperationBlocker

# Some before the request leaves, some while the backend works, some when the reply is there.
_TURNS = range(8)
_MOMENTS = [*((turns, 0.0) for turns in _TURNS), *((0, ms / 1000) for ms in (0.2, 0.5, 1, 2))]
_ANSWER_SECONDS = 5.0
_CALLS = 20
_ROUNDS = 5
_RETURN = timedelta(seconds=2)


State: TypeAlias = tuple[bytes | None, bool]
"""Value of a key (None: absent), and whether it has an expiry."""


@dataclass(frozen=True, slots=True)
class _Write:
    """Write that is cancelled, with the states before it and after it.

    Attributes:
        name: name of the test case.
        capabilities: capabilities that the write and its states need.
        call: makes the call, given the key and the version that it has.
        before: state of the key before.
        after: state of the key where the write took effect.
    """

    name: str
    capabilities: tuple[Capability, ...]
    call: Callable[[FullKeyValue, str, Version], Coroutine[object, None, object]]
    before: State
    after: State

    def __str__(self) -> str:
        return self.name


_TTL, _CAS = Capability.TTL, Capability.COMPARE_AND_SET
_WRITES = (
    _Write(
        "set", (_TTL,), lambda kv, key, _: kv.set(key, b"7", ttl=LONG), (b"5", False), (b"7", True)
    ),
    _Write(
        "set without ttl",
        (_TTL,),
        lambda kv, key, _: kv.set(key, b"7"),
        (b"5", True),
        (b"7", False),
    ),
    _Write("delete", (_TTL,), lambda kv, key, _: kv.delete(key), (b"5", True), (None, False)),
    _Write("expire", (_TTL,), lambda kv, key, _: kv.expire(key, LONG), (b"5", False), (b"5", True)),
    _Write("persist", (_TTL,), lambda kv, key, _: kv.persist(key), (b"5", True), (b"5", False)),
    _Write(
        "compare_and_set",
        (_TTL, _CAS),
        lambda kv, key, version: kv.compare_and_set(key, b"7", expected=version, ttl=LONG),
        (b"5", False),
        (b"7", True),
    ),
    _Write(
        "compare_and_delete",
        (_TTL, _CAS),
        lambda kv, key, version: kv.compare_and_delete(key, expected=version),
        (b"5", True),
        (None, False),
    ),
    _Write(
        "set_many",
        (_TTL, Capability.BATCH),
        lambda kv, key, _: kv.set_many([Put(key, b"7", LONG)]),
        (b"5", False),
        (b"7", True),
    ),
    _Write(
        "delete_many",
        (_TTL, Capability.BATCH),
        lambda kv, key, _: kv.delete_many([key]),
        (b"5", True),
        (None, False),
    ),
    _Write(
        "apply",
        (_TTL, Capability.TRANSACTIONS),
        lambda kv, key, version: kv.apply([Condition(key, version)], [Put(key, b"7", LONG)]),
        (b"5", False),
        (b"7", True),
    ),
    _Write(
        "increment",
        (_TTL, Capability.COUNTER),
        lambda kv, key, _: kv.increment(key, 2),
        (b"5", True),
        (b"7", True),
    ),
)


@group()
class Cancellation(Group):
    """A cancelled call ends, leaves nothing behind, and disturbs no other call."""

    async def test_a_cancelled_read_leaves_the_connection_usable(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(20)]
        for key in keys:
            await kv.set(key, key.encode())
        for turn in range(60):
            reads = [asyncio.create_task(kv.get(key)) for key in keys[:4]]
            await _cancel_after(turn % 6, reads)
            # A reply to a cancelled call must not be given to another call.
            key = keys[turn % len(keys)]
            entry = await kv.get(key)
            assert entry is not None
            assert entry.value == key.encode()

    async def test_a_cancelled_write_is_applied_completely_or_not_at_all(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        for turn in range(60):
            key = f"{prefix}{turn % 5}"
            await kv.set(key, b"old")
            await _cancel_after(turn % 6, [asyncio.create_task(kv.set(key, b"new"))])
            entry = await kv.get(key)
            assert entry is not None
            assert entry.value in (b"old", b"new")

    async def test_a_cancelled_call_is_cancelled_in_the_driver(
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
            # The cancelled call is no longer in flight.
            assert await backend.lifecycle.drain() == DrainReport(completed=0, aborted=0)

    @EVERY_OPERATION
    async def test_every_operation_works_after_a_cancelled_call(
        self, backend: Backend, key: str, operation: SampleOperation
    ) -> None:
        operation.skip_unless_declared_by(backend.profile)
        kv = backend.kv
        for turns, seconds in _MOMENTS:
            await kv.set(key, b"1")
            calls = [asyncio.create_task(_call(operation, kv, key)) for _ in range(2)]
            async with time_limit(_ANSWER_SECONDS, f"a cancelled {operation}"):
                await _cancel_after(turns, calls, seconds)
            what = f"{operation}, set and get after a cancelled {operation}"
            async with time_limit(_ANSWER_SECONDS, what):
                await _call(operation, kv, key)
                version = await kv.set(key, b"new")
                assert await kv.get(key) == Entry(b"new", version), operation.name
        # What a cancelled call has left locked or used up stays so.
        await kv.set(key, b"1")
        for after in _declared(backend):
            async with time_limit(_ANSWER_SECONDS, f"{after} after a cancelled {operation}"):
                await _call(after, kv, key)

    @pytest.mark.parametrize("write", _WRITES, ids=str)
    async def test_a_cancelled_write_of_any_kind_is_applied_whole_or_not_at_all(
        self, backend: Backend, prefix: str, write: _Write
    ) -> None:
        kv = backend.kv
        for capability in write.capabilities:
            skip_unless_declared(backend, capability)
        for number, (turns, seconds) in enumerate(_MOMENTS):
            # Keys of their own: a cancelled write may take effect later.
            key = f"{prefix}{number}"
            value, expires = write.before
            assert value is not None
            version = await kv.set(key, value, ttl=LONG if expires else None)
            await _cancel_after(turns, [asyncio.create_task(write.call(kv, key, version))], seconds)
            for _ in range(3):
                entry = await kv.get(key)
                state = (None, False) if entry is None else (entry.value, bool(entry.expires_at_ms))
                assert state in (write.before, write.after), (write.name, turns, seconds)
                await asyncio.sleep(0)

    async def test_cancelled_calls_leave_no_task_and_no_descriptor(
        self, backend: Backend, key: str
    ) -> None:
        async def cancel_all() -> None:
            for turns in _TURNS:
                for operation in _declared(backend):
                    calls = [
                        asyncio.create_task(_call(operation, backend.kv, key))
                        for _ in range(_CALLS)
                    ]
                    await _cancel_after(turns, calls)

        await backend.kv.set(key, b"1")
        # What one round leaves open may be used by the next, so a pool stops to grow; a leak
        # does not.
        for _ in range(_ROUNDS):
            before = Resources.of(backend.level)
            await cancel_all()
            try:
                await before.wait_for_return("cancelled calls", within=_RETURN)
            except TimeLimitExceeded as error:
                left = error
            else:
                return
        raise left


def _declared(backend: Backend) -> list[SampleOperation]:
    return [each for each in SAMPLES if each.is_declared_by(backend.profile)]


async def _call(operation: SampleOperation, kv: FullKeyValue, key: str) -> None:
    """Make the call; a refusal because of the value or the version is an answer too."""
    with suppress(VersionConflict):
        await operation.call(kv, key)


async def _cancel_after(
    turns: int, tasks: Sequence[asyncio.Task[object]], seconds: float = 0.0
) -> None:
    """Cancel the tasks after this many iterations of the event loop, and wait for their end."""
    if seconds:
        await asyncio.sleep(seconds)
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
