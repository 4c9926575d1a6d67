"""Callers whose calls are recorded, as one history for each key; and their random workloads."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from prism import ports
from prism.ports import (
    Capability,
    Condition,
    ConditionFailed,
    Entry,
    FullKeyValue,
    Outcome,
    Persisted,
    PreconditionFailed,
    PrismError,
    Profile,
    Put,
    Version,
    VersionConflict,
    Write,
)
from prism.testing.suite.histories.history import (
    NEVER,
    UNKNOWN,
    Action,
    Call,
    ChangeTtl,
    CompareAndDelete,
    CompareAndSet,
    Delete,
    Exists,
    Get,
    Increment,
    Set,
)
from prism.testing.suite.timing import LONG

Result = TypeVar("Result")


class Recorder:
    """Histories of every key that its callers used.

    Each value must be written once, and no ttl may end during the history.

    Args:
        conflicts: whether to record a conflict as proof of another value. Not so where callers
            change ttls, because a version may change with the ttl.
    """

    def __init__(self, *, conflicts: bool = True) -> None:
        self.conflicts = conflicts
        self.histories: defaultdict[str, list[Call]] = defaultdict(list)
        self._values: dict[tuple[str, Version], bytes] = {}

    def caller(self, name: str, kv: FullKeyValue) -> Caller:
        """Return a caller whose calls go through `kv` and are recorded under this name."""
        return Caller(name, kv, self)

    @property
    def size(self) -> int:
        """Number of calls recorded, over all keys."""
        return sum(len(history) for history in self.histories.values())

    def remember(self, key: str, version: Version, value: bytes) -> None:
        """Remember which value of the key has this version."""
        self._values[key, version] = value

    def value_of(self, key: str, version: Version) -> bytes:
        """Return the value of the key that has this version."""
        return self._values[key, version]


class Caller:
    """Operations that a history can hold; each raises what the backend raises.

    A refused write (outcome `not_applied`) and a failed read have no effect and are left
    out. A write that fails with an unknown outcome, or is cancelled, stays open.
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
            self._recorder.remember(key, entry.version, entry.value)
        return entry

    async def exists(self, key: str) -> bool:
        begun = time.monotonic()
        exists = await self._kv.exists(key)
        self._record(key, Exists(), begun, exists)
        return exists

    async def expire(self, key: str, ttl: timedelta) -> bool:
        begun = time.monotonic()
        exists = await self._kv.expire(key, ttl)
        self._record(key, ChangeTtl("expire"), begun, exists)
        return exists

    async def persist(self, key: str) -> Persisted:
        begun = time.monotonic()
        persisted = await self._kv.persist(key)
        self._record(key, ChangeTtl("persist"), begun, persisted is not Persisted.NO_KEY)
        return persisted

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        begun = time.monotonic()
        version = await self._write(key, Set(value), begun, self._kv.set(key, value, ttl=ttl))
        self._record(key, Set(value), begun, None)
        self._recorder.remember(key, version, value)
        return version

    async def delete(self, key: str) -> bool:
        begun = time.monotonic()
        existed = await self._write(key, Delete(), begun, self._kv.delete(key))
        self._record(key, Delete(), begun, existed)
        return existed

    async def compare_and_set(self, key: str, value: bytes, *, expected: Version | None) -> bool:
        """Return whether the version matched; a conflict is a result, not an error."""
        known = None if expected is None else self._recorder.value_of(key, expected)
        action = CompareAndSet(known, value)
        begun = time.monotonic()
        call = self._kv.compare_and_set(key, value, expected=expected)
        try:
            version = await self._write(key, action, begun, call)
        except VersionConflict:
            if self._recorder.conflicts:
                self._record(key, action, begun, False)
            return False
        self._record(key, action, begun, True)
        self._recorder.remember(key, version, value)
        return True

    async def compare_and_delete(self, key: str, *, expected: Version) -> bool:
        """Return whether the version matched; a conflict is a result, not an error."""
        action = CompareAndDelete(self._recorder.value_of(key, expected))
        begun = time.monotonic()
        call = self._kv.compare_and_delete(key, expected=expected)
        try:
            await self._write(key, action, begun, call)
        except VersionConflict:
            if self._recorder.conflicts:
                self._record(key, action, begun, False)
            return False
        self._record(key, action, begun, True)
        return True

    async def increment(self, key: str, delta: int = 1) -> int:
        """Return the sum; a refusal because of the value is recorded, and raised."""
        begun = time.monotonic()
        try:
            count = await self._write(key, Increment(delta), begun, self._kv.increment(key, delta))
        except PreconditionFailed:
            self._record(key, Increment(delta), begun, None)
            raise
        self._record(key, Increment(delta), begun, count.value)
        self._recorder.remember(key, count.version, b"%d" % count.value)
        return count.value

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        """Read different keys; the error of an item is raised."""
        begun = time.monotonic()
        entries = [_unless_error(outcome) for outcome in await self._kv.get_many(keys)]
        for key, entry in zip(keys, entries, strict=True):
            self._record(key, Get(), begun, None if entry is None else entry.value)
            if entry is not None:
                self._recorder.remember(key, entry.version, entry.value)
        return entries

    async def set_many(self, puts: Sequence[Put]) -> None:
        """Write different keys; the error of an item is raised."""
        begun = time.monotonic()
        actions = {put.key: Set(put.value) for put in puts}
        versions = await self._write_many(actions, begun, self._kv.set_many(puts))
        for put, version in zip(puts, versions, strict=True):
            self._record(put.key, actions[put.key], begun, None)
            self._recorder.remember(put.key, version, put.value)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """Delete different keys; the error of an item is raised."""
        begun = time.monotonic()
        actions = dict.fromkeys(keys, Delete())
        existed = await self._write_many(actions, begun, self._kv.delete_many(keys))
        for key, each in zip(keys, existed, strict=True):
            self._record(key, actions[key], begun, each)

    async def apply(self, conditions: Sequence[Condition], writes: Sequence[Write]) -> bool:
        """Return whether the conditions held; a condition that does not is not recorded."""
        begun = time.monotonic()
        actions: dict[str, Action] = {
            write.key: Delete() if isinstance(write, ports.Delete) else Set(write.value)
            for write in writes
        }
        try:
            results = await self._write_many(actions, begun, self._kv.apply(conditions, writes))
        except ConditionFailed:
            return False
        for write, result in zip(writes, results, strict=True):
            if isinstance(write, Put):
                self._record(write.key, actions[write.key], begun, None)
                self._recorder.remember(write.key, Version(result), write.value)
            else:
                self._record(write.key, actions[write.key], begun, result)
        return True

    async def _write_many(
        self,
        actions: Mapping[str, Action],
        begun: float,
        call: Awaitable[Sequence[Result | PrismError]],
    ) -> list[Result]:
        """Return the results of a batch; where any item failed, every write stays open."""
        try:
            return [_unless_error(outcome) for outcome in await call]
        except ConditionFailed:
            raise
        except BaseException:
            for key, action in actions.items():
                self._leave_open(key, action, begun)
            raise

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


class RandomWorkload:
    """Random operations of one recorded caller, the same in every run.

    Args:
        name: name of the caller. Each value starts with it, so that each is written once.
        caller: caller that makes and records the calls.
        keys: keys to choose from.
        profile: profile of the backend, which tells whether to compare and set.
    """

    def __init__(self, name: str, caller: Caller, keys: Sequence[str], profile: Profile) -> None:
        self._name = name
        self._caller = caller
        self._keys = keys
        self._random = random.Random(name)
        self._compares = Capability.COMPARE_AND_SET in profile.capabilities
        self._step = 0

    async def step(self) -> None:
        """Do one operation, or a read and the write that depends on it; raise its error."""
        self._step += 1
        key = self._random.choice(self._keys)
        value = f"{self._name}.{self._step}".encode()
        kind = self._random.random()
        if kind < 0.45:
            await self._caller.get(key)
        elif kind < 0.5:
            await self._caller.exists(key)
        elif kind < 0.7 or not self._compares:
            await self._caller.set(key, value)
        elif kind < 0.8:
            await self._caller.delete(key)
        else:
            entry = await self._caller.get(key)
            if entry is not None and kind > 0.95:
                await self._caller.compare_and_delete(key, expected=entry.version)
            else:
                expected = None if entry is None else entry.version
                await self._caller.compare_and_set(key, value, expected=expected)


class EveryWriteWorkload:
    """Random operations of one recorded caller: every write that is declared, and reads.

    All values are numbers, so that increments apply to them. Each number that is set is a
    multiple of `_APART`, and there are too few increments for two of them to meet. A caller
    writes fewer than 1,000 values.

    Args:
        number: number of the caller, from 0.
        caller: caller that makes and records the calls.
        keys: keys to choose from.
        profile: profile of the backend, which tells what may be called.
    """

    _APART = 10_000

    def __init__(self, number: int, caller: Caller, keys: Sequence[str], profile: Profile) -> None:
        self._caller = caller
        self._keys = keys
        self._random = random.Random(number)
        self._first = (number + 1) * 1_000 * self._APART
        self._step = 0
        steps: list[tuple[Capability | None, Callable[[str], Awaitable[object]]]] = [
            (None, caller.get),
            (None, self._set),
            (None, caller.delete),
            (Capability.COMPARE_AND_SET, self._compare_and_set),
            (Capability.COMPARE_AND_SET, self._compare_and_set),
            (Capability.COMPARE_AND_SET, self._compare_and_delete),
            (Capability.COUNTER, self._increment),
            (Capability.TTL, lambda key: caller.expire(key, LONG)),
            (Capability.TTL, caller.persist),
            (Capability.TTL, lambda key: caller.set(key, self._value(), ttl=LONG)),
            (Capability.BATCH, lambda _: caller.get_many(keys)),
            (Capability.BATCH, self._set_many),
            (Capability.BATCH, lambda _: caller.delete_many(keys)),
            (Capability.TRANSACTIONS, self._apply),
        ]
        declared = profile.capabilities
        self._steps = [
            step for capability, step in steps if capability is None or capability in declared
        ]

    async def step(self) -> None:
        """Do one operation, or a read and the write that depends on it; raise its error."""
        await self._random.choice(self._steps)(self._random.choice(self._keys))

    def _value(self) -> bytes:
        self._step += 1
        return b"%d" % (self._first + self._step * self._APART)

    async def _set(self, key: str) -> None:
        await self._caller.set(key, self._value())

    async def _set_many(self, key: str) -> None:
        await self._caller.set_many([Put(each, self._value()) for each in self._keys])

    async def _apply(self, key: str) -> None:
        entry = await self._caller.get(key)
        if entry is None or int(entry.value) >= self._APART:
            condition = Condition.unchanged(key, entry)
            write = ports.Delete(key) if self._random.random() < 0.3 else Put(key, self._value())
            await self._caller.apply([condition], [write])

    async def _increment(self, key: str) -> None:
        await self._caller.increment(key)

    async def _compare_and_set(self, key: str) -> None:
        entry = await self._caller.get(key)
        if entry is None:
            await self._caller.compare_and_set(key, self._value(), expected=None)
        elif int(entry.value) >= self._APART:
            # A number counted from an absent key may come back, with another version.
            await self._caller.compare_and_set(key, self._value(), expected=entry.version)

    async def _compare_and_delete(self, key: str) -> None:
        entry = await self._caller.get(key)
        if entry is not None and int(entry.value) >= self._APART:
            await self._caller.compare_and_delete(key, expected=entry.version)


def _unless_error(outcome: Result | PrismError) -> Result:
    """Return the outcome of an item, or raise it where it is an error."""
    if isinstance(outcome, PrismError):
        raise outcome
    return outcome
