"""Counters that lose or break what they count."""

from __future__ import annotations

import asyncio

from prism.ports import Count, PreconditionFailed
from tests.selftest.faults.fault import Fault


class IncrementsAreLost(Fault):
    caught_by = "test_no_increment_is_lost_under_contention"

    async def increment(self, key: str, delta: int = 1) -> Count:
        entry = await self.get(key)
        await asyncio.sleep(0)
        count = await super().increment(key, delta)
        if entry is None or count.value == int(entry.value) + delta:
            return count
        number = int(entry.value) + delta
        return Count(number, await self.set(key, b"%d" % number))


class IncrementDropsTheTtl(Fault):
    caught_by = "test_increment_keeps_the_ttl"

    async def increment(self, key: str, delta: int = 1) -> Count:
        count = await super().increment(key, delta)
        await self.persist(key)
        return count


class NumbersOverflow(Fault):
    caught_by = "test_an_overflow_is_refused"

    async def increment(self, key: str, delta: int = 1) -> Count:
        try:
            return await super().increment(key, delta)
        except PreconditionFailed as refusal:
            if refusal.reason != "OVERFLOW":
                raise
            return Count(0, await self.set(key, b"0"))


class AnythingCountsAsZero(Fault):
    caught_by = "test_anything_but_a_canonical_number_is_refused"

    async def increment(self, key: str, delta: int = 1) -> Count:
        try:
            return await super().increment(key, delta)
        except PreconditionFailed as refusal:
            if refusal.reason != "NOT_AN_INTEGER":
                raise
            return Count(delta, await self.set(key, b"%d" % delta))
