"""Every operation on a key, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from prism.ports import Capability, FullKeyValue, PrismError, Profile, Put, Version
from prism.testing.suite.group import UNSUPPORTED
from prism.testing.suite.timing import LONG


@dataclass(frozen=True, slots=True)
class Operation:
    """One call with a key.

    Attributes:
        capability: what it needs; None: the mandatory part.
        writes: a refusal says that it was not applied.
    """

    name: str
    capability: Capability | None
    writes: bool
    call: Callable[[FullKeyValue, str], Awaitable[Any]]

    def __str__(self) -> str:
        return self.name

    def offered_by(self, profile: Profile) -> bool:
        """Whether the backend declares what the operation needs."""
        return self.capability is None or self.capability in profile.capabilities

    def skip_unless_offered_by(self, profile: Profile) -> None:
        if not self.offered_by(profile):
            pytest.skip(f"{UNSUPPORTED}{profile.driver} has no {self.capability}")


async def _only(outcomes: Awaitable[Sequence[Any]]) -> Any:
    """The outcome of a batch of one, as the operation on one key would have it."""
    (outcome,) = await outcomes
    if isinstance(outcome, PrismError):
        raise outcome
    return outcome


async def _begin_watch(kv: FullKeyValue, prefix: str) -> None:
    async with kv.watch(prefix):
        pass


_CAS, _TTL, _BATCH = Capability.COMPARE_AND_SET, Capability.TTL, Capability.BATCH

OPERATIONS = (
    Operation("get", None, False, lambda kv, key: kv.get(key)),
    Operation("set", None, True, lambda kv, key: kv.set(key, b"1")),
    Operation("delete", None, True, lambda kv, key: kv.delete(key)),
    Operation("exists", None, False, lambda kv, key: kv.exists(key)),
    Operation("expire", _TTL, True, lambda kv, key: kv.expire(key, LONG)),
    Operation("ttl", _TTL, False, lambda kv, key: kv.ttl(key)),
    Operation("persist", _TTL, True, lambda kv, key: kv.persist(key)),
    Operation(
        "if_absent", _CAS, True, lambda kv, key: kv.compare_and_set(key, b"1", expected=None)
    ),
    Operation(
        "if_version", _CAS, True, lambda kv, key: kv.compare_and_set(key, b"1", expected=Version(7))
    ),
    Operation(
        "compare_and_delete",
        _CAS,
        True,
        lambda kv, key: kv.compare_and_delete(key, expected=Version(7)),
    ),
    Operation("get_many", _BATCH, False, lambda kv, key: _only(kv.get_many([key]))),
    Operation("set_many", _BATCH, True, lambda kv, key: _only(kv.set_many([Put(key, b"1")]))),
    Operation("delete_many", _BATCH, True, lambda kv, key: _only(kv.delete_many([key]))),
    Operation("increment", Capability.COUNTER, True, lambda kv, key: kv.increment(key)),
)

SCAN = Operation("scan", Capability.SCAN, False, lambda kv, key: kv.scan(key))
"""Apart from the others: its prefix may be empty."""

WATCH = Operation("watch", Capability.WATCH, False, _begin_watch)
"""As far as to begin it, and apart from the others for the same reason."""

EVERY_OPERATION = pytest.mark.parametrize("operation", [*OPERATIONS, SCAN, WATCH], ids=str)
EVERY_KEYED_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
EVERY_WRITE = pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.writes], ids=str)
