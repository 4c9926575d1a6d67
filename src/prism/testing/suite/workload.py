"""Callers who do any operation on any of a few keys, and are recorded."""

from __future__ import annotations

import random
from collections.abc import Sequence

from prism.ports import Capability, Profile
from prism.testing.suite.histories import Caller


class Workload:
    """What one caller does, step by step.

    Args:
        name: of the caller; values begin with it, and so are written once each.
    """

    def __init__(self, name: str, caller: Caller, keys: Sequence[str], profile: Profile) -> None:
        self._name = name
        self._caller = caller
        self._keys = keys
        self._chance = random.Random(name)
        self._compares = Capability.COMPARE_AND_SET in profile.capabilities
        self._step = 0

    async def step(self) -> None:
        """Do one operation, or two that belong together; raises what they raise."""
        self._step += 1
        key = self._chance.choice(self._keys)
        value = f"{self._name}.{self._step}".encode()
        kind = self._chance.random()
        if kind < 0.45:
            await self._caller.get(key)
        elif kind < 0.5:
            await self._caller.exists(key)
        elif kind < 0.7 or not self._compares:
            await self._caller.set(key, value)
        elif kind < 0.8:
            await self._caller.delete(key)
        else:
            await self._compare(key, value, deletes=kind > 0.95)

    async def _compare(self, key: str, value: bytes, *, deletes: bool) -> None:
        entry = await self._caller.get(key)
        if entry is not None and deletes:
            await self._caller.compare_and_delete(key, expected=entry.version)
        else:
            expected = None if entry is None else entry.version
            await self._caller.compare_and_set(key, value, expected=expected)
