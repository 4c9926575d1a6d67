"""Operations called in one way each, for tests that hold for all of them.

One sample call for each operation; and the operations that write or return a value.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TypeAlias, TypeVar

import pytest

from prism.ports import (
    OPERATIONS,
    Capability,
    Entry,
    FullKeyValue,
    Keys,
    OperationSpec,
    PrismError,
    Profile,
    Put,
    Version,
)
from prism.testing.suite.group import UNSUPPORTED
from prism.testing.suite.timing import LONG

Result = TypeVar("Result")
SampleCall: TypeAlias = Callable[[FullKeyValue, str], Awaitable[object]]
Write: TypeAlias = Callable[[FullKeyValue, str, bytes], Awaitable[Version]]
Read: TypeAlias = Callable[[FullKeyValue, str], Awaitable[Entry | None]]


@dataclass(frozen=True, slots=True)
class SampleOperation:
    """An operation with sample arguments, to be called with any key.

    Attributes:
        name: name of the test case.
        spec: row of the table of operations.
        call: makes the call with this key, or with this prefix.
    """

    name: str
    spec: OperationSpec
    call: SampleCall

    def __str__(self) -> str:
        return self.name

    def is_declared_by(self, profile: Profile) -> bool:
        """Return whether the backend declares the capability."""
        return self.spec.capability is None or self.spec.capability in profile.capabilities

    def skip_unless_declared_by(self, profile: Profile) -> None:
        """Skip the test where the backend does not declare the capability."""
        if not self.is_declared_by(profile):
            pytest.skip(f"{UNSUPPORTED}{profile.driver} has no {self.spec.capability}")


def _sample(operation: str, call: SampleCall, *, name: str | None = None) -> SampleOperation:
    return SampleOperation(name or operation, OPERATIONS[operation], call)


async def only_item(outcomes: Awaitable[Sequence[Result | PrismError]]) -> Result:
    """Return or raise the outcome of a batch of one, as a single operation would."""
    (outcome,) = await outcomes
    if isinstance(outcome, PrismError):
        raise outcome
    return outcome


async def _only_result(results: Awaitable[Sequence[Result]]) -> Result:
    """Return the result of a transaction of one write."""
    (result,) = await results
    return result


async def _open_watch(kv: FullKeyValue, prefix: str) -> None:
    async with kv.watch(prefix):
        pass


_ARGUMENTS = {"value": b"1", "ttl": LONG, "expected": Version(7)}
"""Sample arguments of operations on one key, by the name of a parameter without a default."""


def _on_one_key(name: str) -> SampleCall:
    parameters = [*signature(getattr(FullKeyValue, name)).parameters.values()][2:]
    given = {each.name: _ARGUMENTS[each.name] for each in parameters if each.default is each.empty}
    return lambda kv, key: getattr(kv, name)(key, **given)


SAMPLES = (
    *(
        _sample(spec.name, _on_one_key(spec.name))
        for spec in OPERATIONS.values()
        if spec.keys is Keys.ONE
    ),
    _sample(
        "compare_and_set",
        lambda kv, key: kv.compare_and_set(key, b"1", expected=None),
        name="set_if_absent",
    ),
    _sample("get_many", lambda kv, key: only_item(kv.get_many([key]))),
    _sample("set_many", lambda kv, key: only_item(kv.set_many([Put(key, b"1")]))),
    _sample("delete_many", lambda kv, key: only_item(kv.delete_many([key]))),
    _sample("apply", lambda kv, key: _only_result(kv.apply([], [Put(key, b"1")]))),
    _sample("scan", lambda kv, prefix: kv.scan(prefix)),
    _sample("watch", _open_watch),
)

EVERY_OPERATION = pytest.mark.parametrize("operation", SAMPLES, ids=str)

# A prefix may be empty, so operations on a prefix have rules of their own.
EVERY_KEYED_OPERATION = pytest.mark.parametrize(
    "operation",
    [sample for sample in SAMPLES if sample.spec.keys is not Keys.PREFIX],
    ids=str,
)


async def _set(kv: FullKeyValue, key: str, value: bytes) -> Version:
    return await kv.set(key, value)


async def _compare_and_set(kv: FullKeyValue, key: str, value: bytes) -> Version:
    entry = await kv.get(key)
    expected = None if entry is None else entry.version
    return await kv.compare_and_set(key, value, expected=expected)


async def _set_many(kv: FullKeyValue, key: str, value: bytes) -> Version:
    return await only_item(kv.set_many([Put(key, value)]))


async def _apply(kv: FullKeyValue, key: str, value: bytes) -> Version:
    return Version(await _only_result(kv.apply([], [Put(key, value)])))


async def _get(kv: FullKeyValue, key: str) -> Entry | None:
    return await kv.get(key)


async def _get_many(kv: FullKeyValue, key: str) -> Entry | None:
    return await only_item(kv.get_many([key]))


async def _scan(kv: FullKeyValue, key: str) -> Entry | None:
    found, token = None, ""
    while True:
        page = await kv.scan(key, values=True, page_token=token)
        found = dict(zip(page.keys, page.entries or (), strict=True)).get(key, found)
        token = page.next_token
        if not token:
            return found


_WRITES: Mapping[str, tuple[Capability | None, Write]] = {
    "set": (None, _set),
    "compare_and_set": (Capability.COMPARE_AND_SET, _compare_and_set),
    "set_many": (Capability.BATCH, _set_many),
    "apply": (Capability.TRANSACTIONS, _apply),
}

_READS: Mapping[str, tuple[Capability | None, Read]] = {
    "get": (None, _get),
    "get_many": (Capability.BATCH, _get_many),
    "scan": (Capability.SCAN, _scan),
}


def writes_of(profile: Profile) -> dict[str, Write]:
    """Return the declared operations that write a given value, by name."""
    return {
        name: write
        for name, (capability, write) in _WRITES.items()
        if capability is None or capability in profile.capabilities
    }


def reads_of(profile: Profile) -> dict[str, Read]:
    """Return the declared operations that return an entry, by name."""
    return {
        name: read
        for name, (capability, read) in _READS.items()
        if capability is None or capability in profile.capabilities
    }
