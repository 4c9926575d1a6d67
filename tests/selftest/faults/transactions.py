"""Drivers with one defect in a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prism.kit import check_conditions
from prism.ports import (
    Condition,
    ConditionFailed,
    Delete,
    Driver,
    Event,
    Exhausted,
    Presence,
    Put,
    Version,
    Write,
)
from tests.selftest.faults.common_store import SharedStoreFault
from tests.selftest.faults.fault import Fault


class WritesComeOneAfterTheOther(Fault):
    """Checks the conditions first and then writes each key by itself."""

    caught_by = "test_no_read_finds_a_transaction_half_applied"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        results = await self.inner.apply(conditions, writes[:1])
        for write in writes[1:]:
            await asyncio.sleep(0)
            results += await self.inner.apply([], [write])
        return results


class ConditionsAreCheckedEarlier(Fault):
    """Checks the conditions at one moment and writes at a later one."""

    caught_by = "test_transfers_between_accounts_keep_the_sum"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        await self.inner.apply(conditions, [])
        await asyncio.sleep(0)
        return await self.inner.apply([], writes)


class OneConditionAtATime(Fault):
    """Checks each condition at a moment of its own, and the last one together with the writes."""

    caught_by = "test_transfers_between_accounts_keep_the_sum"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        for index, condition in enumerate(conditions[:-1]):
            try:
                await self.inner.apply([condition], [])
            except ConditionFailed as failure:
                failure.index = index
                raise
            await asyncio.sleep(0)
        try:
            return await self.inner.apply(conditions[-1:], writes)
        except ConditionFailed as failure:
            failure.index = len(conditions) - 1
            raise


class LaterConditionsAreForgotten(Fault):
    caught_by = "test_a_condition_that_does_not_hold_changes_nothing"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        return await self.inner.apply(conditions[:2], writes)


class WritesAreUndoneButForDeletes(Fault):
    """Writes first, and writes the old values again where a condition did not hold."""

    caught_by = "test_a_condition_that_does_not_hold_changes_nothing"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        try:
            return await self.inner.apply(conditions, writes)
        except ConditionFailed:
            await self.inner.apply([], [each for each in writes if isinstance(each, Delete)])
            raise


class PresenceIsNotChecked(Fault):
    caught_by = "test_conditions_hold_exactly_if_the_key_is_so"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        kept = [each for each in conditions if each.expected is not Presence.PRESENT]
        return await self.inner.apply(kept, writes)


class AnEmptyValueCountsAsAbsent(Fault):
    caught_by = "test_conditions_hold_exactly_if_the_key_is_so"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        entries = {each.key: await self.inner.get(each.key) for each in conditions}
        check_conditions(
            conditions,
            lambda key: entry.version if (entry := entries[key]) and entry.value else None,
        )
        return await self.inner.apply([], writes)


class AnyConflictIsTheFirst(Fault):
    """Says which transaction failed, but not which of its conditions."""

    caught_by = "test_the_error_tells_the_first_condition_that_does_not_hold"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        try:
            return await self.inner.apply(conditions, writes)
        except ConditionFailed as failure:
            raise ConditionFailed(failure.message, current=failure.current) from None


class TheCurrentVersionIsNotTold(Fault):
    caught_by = "test_the_error_tells_the_first_condition_that_does_not_hold"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        try:
            return await self.inner.apply(conditions, writes)
        except ConditionFailed as failure:
            failure.current = None
            raise


class DeletesAreIgnored(Fault):
    caught_by = "test_every_write_of_a_transaction_takes_effect"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        puts = [each for each in writes if isinstance(each, Put)]
        versions = iter(await self.inner.apply(conditions, puts))
        return [
            next(versions) if isinstance(each, Put) else await self.inner.exists(each.key)
            for each in writes
        ]


class ResultsComeInTheOrderOfTheKeys(Fault):
    """Sorts the writes, as against deadlocks, and answers in that order."""

    caught_by = "test_every_write_of_a_transaction_takes_effect"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        # The keys of the test are in order: reversed, so that it shows.
        ordered = sorted(writes, key=lambda each: each.key, reverse=True)
        return await self.inner.apply(conditions, ordered)


class TransactionsDropTheTtl(Fault):
    caught_by = "test_each_put_of_a_transaction_has_its_own_ttl"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        kept = [each._replace(ttl=None) if isinstance(each, Put) else each for each in writes]
        return await self.inner.apply(conditions, kept)


class ExpiredKeysMeetConditions(Fault):
    """Compares with a version that it remembers, although the key may have expired."""

    caught_by = "test_an_expired_key_is_absent_to_a_transaction"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._versions: dict[str, Version] = {}

    async def set(self, key: str, value: bytes, **options: Any) -> Version:
        version = self._versions[key] = await self.inner.set(key, value, **options)
        return version

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        kept = [
            each
            for each in conditions
            if each.expected != self._versions.get(each.key, Presence.ABSENT)
            or await self.inner.exists(each.key)
        ]
        return await self.inner.apply(kept, writes)


class LongTransactionsAreRefused(Fault):
    """Its backend takes a hundred items, and the profile promises more."""

    caught_by = "test_a_transaction_may_have_as_many_items_as_the_limit"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        if len(conditions) + len(writes) > 100:
            raise Exhausted("the backend takes 100 items")
        return await self.inner.apply(conditions, writes)


class WatchesMissTheSecondWrite(Fault):
    """Reports one event for each transaction."""

    caught_by = "test_each_write_of_a_transaction_is_reported"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._silent: set[str] = set()

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        results = await self.inner.apply(conditions, writes)
        self._silent.update(each.key for each in writes[1:2])
        return results

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def reported(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            async for event in events:
                # The transaction answers in this turn of the loop or in the next.
                await asyncio.sleep(0)
                if event.key in self._silent:
                    self._silent.discard(event.key)
                else:
                    yield event

        async with self.inner.watch(prefix) as events:
            yield reported(events)


class ACancelledTransactionIsCutShort(Fault):
    caught_by = "test_a_cancelled_transaction_is_applied_whole_or_not_at_all"

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        results = await self.inner.apply(conditions, writes)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await self.inner.apply([], [Delete(each.key) for each in writes[1:2]])
            raise
        return results


class TransactionsLockOwnKeysOnly(SharedStoreFault):
    """Checks and writes under a lock of its own process, which other processes do not take."""

    caught_by = "test_transfers_through_several_backends_keep_the_sum"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._lock = asyncio.Lock()

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        async with self._lock:
            await self.inner.apply(conditions, [])
            await asyncio.sleep(0)
            return await self.inner.apply([], writes)


class TransactionsAreSavedByHalf(SharedStoreFault):
    """Loses the end of its last transaction in a stop."""

    caught_by = "test_transactions_survive_a_restart"
    _last: tuple[Write, ...] = ()

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        results = await self.inner.apply(conditions, writes)
        self._last = tuple(writes)
        return results

    async def stop(self, *args: Any, **options: Any) -> None:
        for write in self._last[len(self._last) // 2 :]:
            await self.inner.delete(write.key)
        self._last = ()
        await super().stop(*args, **options)
