"""Records what callers of a backend do, as a history for each key."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable
from typing import TypeVar

from prism.ports import (
    Entry,
    FullKeyValue,
    Outcome,
    PrismError,
    Version,
    VersionConflict,
)
from prism.testing.suite.histories.actions import (
    Action,
    CompareAndDelete,
    CompareAndSet,
    Delete,
    Exists,
    Get,
    Increment,
    Set,
)
from prism.testing.suite.histories.calls import NEVER, UNKNOWN, Call, History

Result = TypeVar("Result")


class Recorder:
    """The histories of every key that its callers touched.

    Values must be written once each, and without a ttl.
    """

    def __init__(self) -> None:
        self.histories: defaultdict[str, list[Call]] = defaultdict(list)
        self._values: dict[tuple[str, Version], bytes] = {}

    def caller(self, name: str, kv: FullKeyValue) -> Caller:
        """One who makes calls through `kv`, one after another or at once."""
        return Caller(name, kv, self)

    def history(self, key: str) -> History:
        """The calls on the key so far."""
        return self.histories[key]

    @property
    def size(self) -> int:
        """Calls recorded, in all."""
        return sum(len(history) for history in self.histories.values())

    def learn(self, key: str, version: Version, value: bytes) -> None:
        self._values[key, version] = value

    def value_of(self, key: str, version: Version) -> bytes:
        """The value that the version was of."""
        return self._values[key, version]


class Caller:
    """The operations that a history can hold; each raises what the backend raises.

    A refusal (`not_applied`) and a failed read say nothing, and are left out. A
    failed write whose outcome is unknown stays open, and so does one cancelled.
    """

    def __init__(self, name: str, kv: FullKeyValue, recorder: Recorder) -> None:
        self._name = name
        self._kv = kv
        self._recorder = recorder

    async def get(self, key: str) -> Entry | None:
        begun = time.monotonic()
        entry = await self._kv.get(key)
        self._record(key, Get(), begun, None if entry is None else entry.value)
        if entry is not None:
            self._recorder.learn(key, entry.version, entry.value)
        return entry

    async def exists(self, key: str) -> bool:
        begun = time.monotonic()
        exists = await self._kv.exists(key)
        self._record(key, Exists(), begun, exists)
        return exists

    async def set(self, key: str, value: bytes) -> Version:
        begun = time.monotonic()
        version = await self._write(key, Set(value), begun, self._kv.set(key, value))
        self._record(key, Set(value), begun, None)
        self._recorder.learn(key, version, value)
        return version

    async def delete(self, key: str) -> bool:
        begun = time.monotonic()
        existed = await self._write(key, Delete(), begun, self._kv.delete(key))
        self._record(key, Delete(), begun, existed)
        return existed

    async def compare_and_set(self, key: str, value: bytes, *, expected: Version | None) -> bool:
        """Whether it won: to lose is a result."""
        known = None if expected is None else self._recorder.value_of(key, expected)
        action = CompareAndSet(known, value)
        begun = time.monotonic()
        call = self._kv.compare_and_set(key, value, expected=expected)
        try:
            version = await self._write(key, action, begun, call)
        except VersionConflict:
            self._record(key, action, begun, False)
            return False
        self._record(key, action, begun, True)
        self._recorder.learn(key, version, value)
        return True

    async def compare_and_delete(self, key: str, *, expected: Version) -> bool:
        """Whether it won."""
        action = CompareAndDelete(self._recorder.value_of(key, expected))
        begun = time.monotonic()
        call = self._kv.compare_and_delete(key, expected=expected)
        try:
            await self._write(key, action, begun, call)
        except VersionConflict:
            self._record(key, action, begun, False)
            return False
        self._record(key, action, begun, True)
        return True

    async def increment(self, key: str, delta: int = 1) -> int:
        begun = time.monotonic()
        count = await self._write(key, Increment(delta), begun, self._kv.increment(key, delta))
        self._record(key, Increment(delta), begun, count.value)
        return count.value

    async def _write(
        self, key: str, action: Action, begun: float, call: Awaitable[Result]
    ) -> Result:
        try:
            return await call
        except PrismError as error:
            if error.outcome is Outcome.UNKNOWN:
                self._leave_open(key, action, begun)
            raise
        except BaseException:
            self._leave_open(key, action, begun)
            raise

    def _leave_open(self, key: str, action: Action, begun: float) -> None:
        call = Call(self._name, action, begun, NEVER, UNKNOWN)
        self._recorder.histories[key].append(call)

    def _record(self, key: str, action: Action, begun: float, result: object) -> None:
        call = Call(self._name, action, begun, time.monotonic(), result)
        self._recorder.histories[key].append(call)
