"""How a lock is acquired."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lock import locked
from prism.ports import (
    AccessDenied,
    BackendTimeout,
    Entry,
    Outcome,
    PrismError,
    Version,
    VersionConflict,
)

MINUTE = timedelta(minutes=1)


class FakeStore:
    """Client of a store with one key.

    Attributes:
        entry: what the key has.
        failures: errors of the next writes.
        applies: whether a write that fails is applied.
        unreadable: error of every read; None: reads succeed.
        tried_at: times of the loop's clock at which writes came.
        held: number of writes after which its entry is gone.
    """

    def __init__(self, *failures: PrismError) -> None:
        self.entry: Entry | None = None
        self.failures = list(failures)
        self.applies = False
        self.unreadable: PrismError | None = None
        self.tried_at: list[float] = []
        self.held = 0

    async def compare_and_set(self, key: str, value: bytes, **how: Any) -> Version:
        self.tried_at.append(asyncio.get_running_loop().time())
        if len(self.tried_at) == self.held:
            self.entry = None
        failure = self.failures.pop(0) if self.failures else None
        if failure is None and self.entry is not None:
            raise VersionConflict("it exists")
        if failure is None or self.applies:
            self.entry = Entry(value, Version(1))
        if failure is not None:
            raise failure
        return Version(1)

    async def get(self, key: str) -> Entry | None:
        if self.unreadable is not None:
            raise self.unreadable
        return self.entry

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        self.entry = None


def lock(store: FakeStore, wait: timedelta | None = None) -> Any:
    return locked(cast("KeyValueClient", store), "jobs", MINUTE, wait)


async def test_lock_whose_acquisition_has_an_unknown_outcome_is_held_if_it_was_applied() -> None:
    store = FakeStore(BackendTimeout("no answer", outcome=Outcome.UNKNOWN))
    store.applies = True
    async with lock(store) as held:
        assert held.version == 1
        assert store.entry is not None
    assert store.entry is None


async def test_lock_that_was_not_acquired_raises_the_unknown_outcome() -> None:
    store = FakeStore(BackendTimeout("no answer", outcome=Outcome.UNKNOWN))
    with pytest.raises(BackendTimeout):
        await lock(store).__aenter__()


async def test_refused_caller_learns_what_it_may_not_do() -> None:
    store = FakeStore(AccessDenied("this caller may not write 'jobs'"))
    store.unreadable = AccessDenied("this caller may not read 'jobs'")
    with pytest.raises(AccessDenied, match="may not write"):
        await lock(store).__aenter__()


async def test_lock_that_another_one_holds_is_waited_for_as_long_as_the_caller_wants() -> None:
    store = FakeStore()
    store.entry = Entry(b"another owner", Version(7))
    with pytest.raises(VersionConflict, match="somebody else holds"):
        await lock(store, wait=timedelta(0)).__aenter__()


async def test_lock_is_tried_at_growing_intervals() -> None:
    store = FakeStore()
    store.entry, store.held = Entry(b"another owner", Version(7)), 5
    async with lock(store):
        first, *_, fifth = store.tried_at
        # The pauses are at least half of 10, 20, 40 and 80 ms, less the resolution of the clock.
        assert fifth - first > 0.07
