"""One sample call for each operation, for tests that hold for all operations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import pytest

from prism.ports import (
    OPERATIONS,
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


async def _only_item(outcomes: Awaitable[Sequence[Result | PrismError]]) -> Result:
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


SAMPLES = (
    _sample("get", lambda kv, key: kv.get(key)),
    _sample("set", lambda kv, key: kv.set(key, b"1")),
    _sample("delete", lambda kv, key: kv.delete(key)),
    _sample("exists", lambda kv, key: kv.exists(key)),
    _sample("expire", lambda kv, key: kv.expire(key, LONG)),
    _sample("ttl", lambda kv, key: kv.ttl(key)),
    _sample("persist", lambda kv, key: kv.persist(key)),
    _sample(
        "compare_and_set",
        lambda kv, key: kv.compare_and_set(key, b"1", expected=None),
        name="set_if_absent",
    ),
    _sample(
        "compare_and_set",
        lambda kv, key: kv.compare_and_set(key, b"1", expected=Version(7)),
        name="set_if_version",
    ),
    _sample("compare_and_delete", lambda kv, key: kv.compare_and_delete(key, expected=Version(7))),
    _sample("get_many", lambda kv, key: _only_item(kv.get_many([key]))),
    _sample("set_many", lambda kv, key: _only_item(kv.set_many([Put(key, b"1")]))),
    _sample("delete_many", lambda kv, key: _only_item(kv.delete_many([key]))),
    _sample("apply", lambda kv, key: _only_result(kv.apply([], [Put(key, b"1")]))),
    _sample("increment", lambda kv, key: kv.increment(key)),
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
