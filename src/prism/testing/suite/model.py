"""Group model: random operations, compared with a dict."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from prism.ports import (
    Capability,
    Condition,
    ConditionFailed,
    Delete,
    Entry,
    Lifetime,
    Persisted,
    PreconditionFailed,
    Presence,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import Backend, Level
from prism.testing.suite.group import Group, group
from prism.testing.suite.large_scans import pages_under
from prism.testing.suite.timing import LONG

Result = TypeVar("Result")
RuleT = TypeVar("RuleT", bound=Callable[..., None])

# Few, so that operations meet on a key; some are prefixes or lookalikes of others.
NAMES = ["a", "a*", "ab", "a/b", "b", "é", "{t}", "{t}a"]
# Those that every backend can write in one transaction; see `keys_together`.
TOGETHER = ["{t}", "{t}a", "{t}é"]
PREFIXES = ["", "a", "a*", "a/", "b", "é", "x"]

names = st.sampled_from(NAMES)
values = st.sampled_from([b"", b"0", b"1", b"-7", b"x", b"\xff\x00"]) | st.binary(max_size=8)
ttls = st.sampled_from([None, LONG, 2 * LONG])
conditions = st.lists(
    st.tuples(st.sampled_from(TOGETHER), st.sampled_from([*Presence, "current", "other"])),
    max_size=3,
    unique_by=lambda condition: condition[0],
)
# No value: a delete.
writes = st.lists(
    st.tuples(st.sampled_from(TOGETHER), st.none() | values, ttls),
    max_size=3,
    unique_by=lambda write: write[0],
)
several = st.lists(names, max_size=6)

_RUNS = itertools.count()
_CALL_SECONDS = 20.0


@dataclass(slots=True)
class ExpectedEntry:
    """Expected state of a key.

    Attributes:
        value: expected value.
        expires: whether the key has a ttl.
        version: expected version; None: unknown, as after a change of the ttl.
    """

    value: bytes
    expires: bool
    version: Version | None


def _declared(capability: Capability) -> Callable[[RuleT], RuleT]:
    return precondition(lambda machine: capability in machine.declared)


class ModelMachine(RuleBasedStateMachine):
    """Stateful test: each rule does one operation on the backend and on a dict, and compares."""

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop, prefix: str) -> None:
        super().__init__()
        self.kv = backend.kv
        self.declared = set(backend.profile.capabilities)
        self.loop = loop
        self.prefix = f"{prefix}{next(_RUNS)}/"
        self.model: dict[str, ExpectedEntry] = {}
        self.seen: list[Version] = [Version(0)]

    def call(self, operation: Coroutine[object, None, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(operation, self.loop).result(_CALL_SECONDS)

    def wrote(self, name: str, value: bytes, version: Version, *, expires: bool) -> None:
        self.model[name] = ExpectedEntry(value, expires, version)
        self.seen.append(version)

    def check_entry(self, name: str, entry: object) -> None:
        held = self.model.get(name)
        if held is None:
            assert entry is None
            return
        assert isinstance(entry, Entry)
        assert entry.value == held.value
        assert (entry.expires_at_ms is not None) is held.expires
        if held.version is not None:
            assert entry.version == held.version
        held.version = entry.version
        self.seen.append(entry.version)

    def teardown(self) -> None:
        for name in self.model:
            self.call(self.kv.delete(self.prefix + name))

    @rule(name=names)
    def get(self, name: str) -> None:
        self.check_entry(name, self.call(self.kv.get(self.prefix + name)))

    @rule(name=names)
    def exists(self, name: str) -> None:
        assert self.call(self.kv.exists(self.prefix + name)) is (name in self.model)

    @rule(name=names, value=values, ttl=ttls)
    def set(self, name: str, value: bytes, ttl: timedelta | None) -> None:
        if Capability.TTL not in self.declared:
            ttl = None
        version = self.call(self.kv.set(self.prefix + name, value, ttl=ttl))
        self.wrote(name, value, version, expires=ttl is not None)

    @rule(name=names)
    def delete(self, name: str) -> None:
        existed = self.call(self.kv.delete(self.prefix + name))
        assert existed is (self.model.pop(name, None) is not None)

    @_declared(Capability.TTL)
    @rule(name=names)
    def expire(self, name: str) -> None:
        assert self.call(self.kv.expire(self.prefix + name, LONG)) is (name in self.model)
        if name in self.model:
            self.model[name].expires = True
            self.model[name].version = None

    @_declared(Capability.TTL)
    @rule(name=names)
    def persist(self, name: str) -> None:
        held = self.model.get(name)
        expected = Persisted.NO_KEY
        if held is not None:
            expected = Persisted.EXPIRY_REMOVED if held.expires else Persisted.NO_EXPIRY
            held.expires, held.version = False, None
        assert self.call(self.kv.persist(self.prefix + name)) is expected

    @_declared(Capability.TTL)
    @rule(name=names)
    def ttl(self, name: str) -> None:
        lifetime = self.call(self.kv.ttl(self.prefix + name))
        held = self.model.get(name)
        if held is None:
            assert lifetime is None
        else:
            assert isinstance(lifetime, Lifetime)
            assert (lifetime.remaining is not None) is held.expires

    @_declared(Capability.COMPARE_AND_SET)
    @rule(name=names, value=values, chance=st.data(), ttl=ttls)
    def compare_and_set(
        self, name: str, value: bytes, chance: st.DataObject, ttl: timedelta | None
    ) -> None:
        if Capability.TTL not in self.declared:
            ttl = None
        current = self._current(name)
        expected = chance.draw(st.sampled_from([None, current, *self.seen[-4:]]))
        change = self.kv.compare_and_set(self.prefix + name, value, expected=expected, ttl=ttl)
        try:
            version = self.call(change)
        except VersionConflict:
            assert expected != current
        else:
            assert expected == current
            self.wrote(name, value, version, expires=ttl is not None)

    @_declared(Capability.COMPARE_AND_SET)
    @rule(name=names, chance=st.data())
    def compare_and_delete(self, name: str, chance: st.DataObject) -> None:
        current = self._current(name)
        candidates = [*self.seen[-4:], *([] if current is None else [current])]
        expected = chance.draw(st.sampled_from(candidates))
        try:
            self.call(self.kv.compare_and_delete(self.prefix + name, expected=expected))
        except VersionConflict:
            assert expected != current
        else:
            assert expected == current
            del self.model[name]

    @_declared(Capability.COUNTER)
    @rule(name=names, delta=st.integers(-20, 20))
    def increment(self, name: str, delta: int) -> None:
        held = self.model.get(name)
        number = 0 if held is None else _number(held.value)
        try:
            count = self.call(self.kv.increment(self.prefix + name, delta))
        except PreconditionFailed:
            assert number is None
        else:
            assert number is not None
            assert count.value == number + delta
            expires = held is not None and held.expires
            self.wrote(name, b"%d" % count.value, count.version, expires=expires)

    @_declared(Capability.BATCH)
    @rule(asked=several)
    def get_many(self, asked: list[str]) -> None:
        outcomes = self.call(self.kv.get_many([self.prefix + name for name in asked]))
        for name, outcome in zip(asked, outcomes, strict=True):
            self.check_entry(name, outcome)

    @_declared(Capability.BATCH)
    @rule(items=st.lists(st.tuples(names, values, ttls), max_size=6))
    def set_many(self, items: list[tuple[str, bytes, timedelta | None]]) -> None:
        if Capability.TTL not in self.declared:
            items = [(name, value, None) for name, value, _ in items]
        puts = [Put(self.prefix + name, value, ttl) for name, value, ttl in items]
        outcomes = self.call(self.kv.set_many(puts))
        for (name, value, ttl), outcome in zip(items, outcomes, strict=True):
            assert isinstance(outcome, int)
            self.wrote(name, value, outcome, expires=ttl is not None)

    @_declared(Capability.BATCH)
    @rule(asked=several)
    def delete_many(self, asked: list[str]) -> None:
        outcomes = self.call(self.kv.delete_many([self.prefix + name for name in asked]))
        assert outcomes == [self.model.pop(name, None) is not None for name in asked]

    @_declared(Capability.TRANSACTIONS)
    @rule(conditions=conditions, writes=writes)
    def apply(
        self,
        conditions: list[tuple[str, Presence | str]],
        writes: list[tuple[str, bytes | None, timedelta | None]],
    ) -> None:
        current = {name: self._current(name) for name, _ in conditions}
        asked = [
            Condition(self.prefix + name, self._expected(current[name], kind))
            for name, kind in conditions
        ]
        unmet = [
            index
            for index, ((name, _), condition) in enumerate(zip(conditions, asked, strict=True))
            if not condition.is_met_by(current[name])
        ]
        if Capability.TTL not in self.declared:
            writes = [(name, value, None) for name, value, _ in writes]
        items = [
            Delete(self.prefix + name) if value is None else Put(self.prefix + name, value, ttl)
            for name, value, ttl in writes
        ]
        try:
            results = self.call(self.kv.apply(asked, items))
        except ConditionFailed as failure:
            found = [(failure.index, failure.current)]
            assert found == [(index, current[conditions[index][0]]) for index in unmet[:1]]
            return
        assert not unmet
        for (name, value, ttl), result in zip(writes, results, strict=True):
            if value is None:
                assert result is (self.model.pop(name, None) is not None)
            else:
                self.wrote(name, value, Version(result), expires=ttl is not None)

    @_declared(Capability.SCAN)
    @rule(prefix=st.sampled_from(PREFIXES), page_size=st.integers(0, 4), with_values=st.booleans())
    def scan(self, prefix: str, page_size: int, with_values: bool) -> None:
        found = self.call(self._scan(self.prefix + prefix, page_size, with_values))
        expected = {name for name in self.model if name.startswith(prefix)}
        assert set(found) == {self.prefix + name for name in expected}
        if with_values:
            for key, entry in found.items():
                self.check_entry(key.removeprefix(self.prefix), entry)

    async def _scan(self, prefix: str, page_size: int, values: bool) -> dict[str, Entry | None]:
        found: dict[str, Entry | None] = {}
        async for page in pages_under(self.kv, prefix, page_size=page_size, values=values):
            entries = page.entries if values else [None] * len(page.keys)
            assert entries is not None
            found.update(zip(page.keys, entries, strict=True))
        return found

    @staticmethod
    def _expected(current: Version | None, kind: Presence | str) -> Version | Presence:
        """Return what a condition expects, given the version of its key."""
        if isinstance(kind, Presence):
            return kind
        if current is None:
            return Version(7)
        return current if kind == "current" else Version(current ^ 1)

    def _current(self, name: str) -> Version | None:
        """Read the current version, which the model may not know."""
        entry = self.call(self.kv.get(self.prefix + name))
        self.check_entry(name, entry)
        return None if entry is None else entry.version


def _number(text: bytes) -> int | None:
    """Return the value as a counter reads it; None: it is not a canonical integer."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if b"%d" % number == text else None


# Each call has a time limit of its own; shrinking a failure is what takes long.
@group(time_limit_seconds=600.0)
class Model(Group):
    """Stateful property test.

    Attributes:
        model_examples: number of histories by level; each has some thirty operations.
        model_phases: phases of hypothesis.
    """

    model_examples: ClassVar[dict[Level, int]] = {
        Level.IN_PROCESS: 80,
        Level.WIRE: 40,
        Level.PROXY: 20,
    }
    model_phases: ClassVar[tuple[Phase, ...]] = (Phase.generate, Phase.shrink)

    async def test_random_operations_agree_with_a_dict(self, backend: Backend, prefix: str) -> None:
        loop = asyncio.get_running_loop()

        class BoundMachine(ModelMachine):
            def __init__(self) -> None:
                super().__init__(backend, loop, prefix)

        # Derandomized, so that every run tries the same histories.
        run_settings = settings(
            max_examples=self.model_examples[backend.level],
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=True,
            print_blob=False,
            report_multiple_bugs=False,
            phases=self.model_phases,
            suppress_health_check=list(HealthCheck),
        )
        # Rules are plain functions: they run in a thread, their operations in this event loop.
        await asyncio.to_thread(run_state_machine_as_test, BoundMachine, settings=run_settings)
