"""Group transactions, continued: transactions beside one another and beside other operations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest

from prism.ports import (
    Capability,
    Condition,
    ConditionFailed,
    Delete,
    Entry,
    FullKeyValue,
    Presence,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.calls import gather_or_cancel
from prism.testing.suite.group import Group, group, needs
from prism.testing.suite.histories import RandomWorkload, Recorder, check

RACERS = 16
ROUNDS = 10
ACCOUNTS = 4
TRANSFERS_EACH = 15
CALLERS = 6
STEPS = 30
BALANCE = 100

ABSENT = Presence.ABSENT


def keys_together(prefix: str, count: int) -> list[str]:
    """Return keys that every backend can write in one transaction.

    A Redis Cluster keeps keys with the same text in braces on one server.
    """
    return [f"{{{prefix}}}{number}" for number in range(count)]


async def entries_of(kv: FullKeyValue, keys: Sequence[str]) -> list[Entry | None]:
    """Read the keys one after the other."""
    return [await kv.get(key) for key in keys]


class Bank:
    """Accounts between which transactions move amounts, so that their sum never changes."""

    def __init__(self, prefix: str) -> None:
        self.accounts = keys_together(prefix, ACCOUNTS)

    async def open(self, kv: FullKeyValue) -> None:
        """Give every account the same balance."""
        await kv.apply([], [Put(account, b"%d" % BALANCE) for account in self.accounts])

    async def transfer(self, kv: FullKeyValue, chance: random.Random) -> None:
        """Move an amount from one account to another; again, until nobody comes between."""
        names = chance.sample(self.accounts, 2)
        amount = chance.randint(1, 9)
        while True:
            entries = await entries_of(kv, names)
            source, target = (_balance(entry) for entry in entries)
            with suppress(ConditionFailed):
                await kv.apply(
                    list(map(Condition.unchanged, names, entries)),
                    [
                        Put(names[0], b"%d" % (source - amount)),
                        Put(names[1], b"%d" % (target + amount)),
                    ],
                )
                return
            await asyncio.sleep(0)

    async def confirmed_sum(self, kv: FullKeyValue) -> int | None:
        """Return the sum of all balances at one moment; None: they changed meanwhile."""
        entries = await entries_of(kv, self.accounts)
        with suppress(ConditionFailed):
            await kv.apply(list(map(Condition.unchanged, self.accounts, entries)), [])
            return sum(map(_balance, entries))
        return None

    async def run(self, stores: Sequence[FullKeyValue]) -> None:
        """Make transfers through all stores at once, and check the sum beside them."""
        await self.open(stores[0])
        callers = [kv for kv in stores for _ in range(CALLERS // len(stores))]
        working = len(callers)

        async def work(number: int, kv: FullKeyValue) -> None:
            nonlocal working
            chance = random.Random(number)
            for _ in range(TRANSFERS_EACH):
                await self.transfer(kv, chance)
            working -= 1

        async def audit(kv: FullKeyValue) -> None:
            while working:
                found = await self.confirmed_sum(kv)
                assert found in (None, ACCOUNTS * BALANCE), "the sum changed during transfers"
                await asyncio.sleep(0)

        await gather_or_cancel(
            *(work(number, kv) for number, kv in enumerate(callers)), *map(audit, stores)
        )
        for kv in stores:
            assert await self.confirmed_sum(kv) == ACCOUNTS * BALANCE, "the sum changed"


class TwoKeys:
    """Two keys that are always written together, as one key for a recorded caller.

    Whichever of them is read, the values must be those of one key. A version stands for one of
    the two keys, so callers get a number for each version.
    """

    def __init__(self, kv: FullKeyValue, keys: Sequence[str], chance: random.Random) -> None:
        self._kv = kv
        self._keys = keys
        self._chance = chance
        self._versions: list[tuple[str, Version]] = []

    async def get(self, _: str) -> Entry | None:
        key = self._chance.choice(self._keys)
        entry = await self._kv.get(key)
        return None if entry is None else entry._replace(version=self._known(key, entry.version))

    async def exists(self, _: str) -> bool:
        return await self._kv.exists(self._chance.choice(self._keys))

    async def set(self, _: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._put([], value)

    async def delete(self, _: str) -> bool:
        return await self._delete([])

    async def compare_and_set(self, _: str, value: bytes, *, expected: Version | None) -> Version:
        return await self._put([self._condition(expected)], value)

    async def compare_and_delete(self, _: str, *, expected: Version) -> None:
        assert await self._delete([self._condition(expected)])

    async def _put(self, conditions: list[Condition], value: bytes) -> Version:
        version, _ = await self._kv.apply(conditions, [Put(key, value) for key in self._keys])
        return self._known(self._keys[0], Version(version))

    async def _delete(self, conditions: list[Condition]) -> bool:
        first, second = await self._kv.apply(conditions, list(map(Delete, self._keys)))
        assert first is second, "one of two keys existed that are always written together"
        return bool(first)

    def _condition(self, expected: Version | None) -> Condition:
        if expected is None:
            return Condition(self._chance.choice(self._keys), ABSENT)
        return Condition(*self._versions[expected])

    def _known(self, key: str, version: Version) -> Version:
        self._versions.append((key, version))
        return Version(len(self._versions) - 1)


@group(Capability.TRANSACTIONS)
class TransactionsTogether(Group):
    """Each transaction takes effect at one moment."""

    async def test_one_of_many_transactions_wins(self, kv: FullKeyValue, prefix: str) -> None:
        guard, *others = keys_together(prefix, 4)

        async def race(racer: int, condition: Condition) -> int | None:
            writes = [Put(key, b"by %d" % racer) for key in (*others, guard)]
            with suppress(ConditionFailed):
                await kv.apply([condition], writes)
                return racer
            return None

        for turn in range(ROUNDS):
            entry = await kv.get(guard)
            condition = Condition.unchanged(guard, entry)
            if turn % 3 == 2:
                await kv.delete(guard)
                condition = Condition(guard, ABSENT)
            outcomes = await asyncio.gather(
                *(race(RACERS * turn + racer, condition) for racer in range(RACERS))
            )
            winners = [outcome for outcome in outcomes if outcome is not None]
            assert len(winners) == 1, f"{len(winners)} of {RACERS} transactions succeeded"
            found = await entries_of(kv, [guard, *others])
            assert [entry and entry.value for entry in found] == [b"by %d" % winners[0]] * 4

    async def test_transfers_between_accounts_keep_the_sum(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        await Bank(prefix).run([kv])

    async def test_two_keys_written_together_have_the_history_of_one(
        self, backend: Backend, prefix: str
    ) -> None:
        recorder = Recorder()
        keys = keys_together(prefix, 2)

        async def work(number: int) -> None:
            name = f"caller {number}"
            pair = TwoKeys(backend.kv, keys, random.Random(number))
            caller = recorder.caller(name, pair)  # type: ignore[arg-type]
            workload = RandomWorkload(name, caller, ["both"], backend.profile)
            for _ in range(STEPS):
                await workload.step()

        await gather_or_cancel(*(work(number) for number in range(CALLERS)))
        await asyncio.to_thread(check, recorder.histories)

    async def test_no_read_finds_a_transaction_half_applied(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        first, second = keys_together(prefix, 2)
        await kv.apply([], [Put(first, b"0"), Put(second, b"0")])
        writing = True

        async def write() -> None:
            nonlocal writing
            for turn in range(1, 2 * STEPS):
                keys = (first, second) if turn % 2 else (second, first)
                await kv.apply([], [Put(key, b"%d" % turn) for key in keys])
                await asyncio.sleep(0)
            writing = False

        async def read(early: str, late: str) -> None:
            # What is read later is not older.
            while writing:
                one, two = await entries_of(kv, (early, late))
                assert _balance(two) >= _balance(one), "a read found some writes of a transaction"
                await asyncio.sleep(0)

        await gather_or_cancel(write(), read(first, second), read(second, first))

    @needs(Capability.COUNTER)
    async def test_transactions_lose_no_increment(self, kv: FullKeyValue, prefix: str) -> None:
        counter, log = keys_together(prefix, 2)
        await kv.set(counter, b"0")

        async def count() -> None:
            for _ in range(STEPS):
                await kv.increment(counter)
                await asyncio.sleep(0)

        async def add(number: int) -> None:
            for turn in range(STEPS // 3):
                while True:
                    entry = await kv.get(counter)
                    writes = [
                        Put(counter, b"%d" % (_balance(entry) + 1)),
                        Put(log, b"%d %d" % (number, turn)),
                    ]
                    with suppress(ConditionFailed):
                        await kv.apply([Condition.unchanged(counter, entry)], writes)
                        break
                    await asyncio.sleep(0)

        await gather_or_cancel(count(), count(), *(add(number) for number in range(3)))
        entry = await kv.get(counter)
        assert _balance(entry) == 2 * STEPS + 3 * (STEPS // 3)

    @needs(Capability.COMPARE_AND_SET)
    async def test_a_compare_and_set_and_a_transaction_exclude_each_other(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        key, other = keys_together(prefix, 2)
        version = await kv.set(key, b"start")
        for turn in range(ROUNDS):
            value = b"%d" % turn
            outcomes = await asyncio.gather(
                kv.compare_and_set(key, value + b" alone", expected=version),
                kv.apply([Condition(key, version)], [Put(other, value), Put(key, value)]),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException) and not isinstance(outcome, VersionConflict):
                    raise outcome
            won = [not isinstance(outcome, VersionConflict) for outcome in outcomes]
            assert sum(won) == 1, outcomes
            entry, beside = await entries_of(kv, [key, other])
            assert entry is not None
            assert entry.value == (value + b" alone" if won[0] else value)
            assert (beside is not None and beside.value == value) is won[1]
            version = entry.version

    @pytest.mark.parametrize("turns", range(6))
    async def test_a_cancelled_transaction_is_applied_whole_or_not_at_all(
        self, kv: FullKeyValue, prefix: str, turns: int
    ) -> None:
        for number in range(ROUNDS):
            one, two, three = keys_together(f"{prefix}{number}", 3)
            await kv.set(three, b"old")
            task = asyncio.create_task(
                kv.apply([Condition(one, ABSENT)], [Put(one, b"1"), Put(two, b"2"), Delete(three)])
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            # It may still take effect, so each look is at one moment.
            while True:
                entries = await entries_of(kv, (one, two, three))
                with suppress(ConditionFailed):
                    await kv.apply(list(map(Condition.unchanged, (one, two, three), entries)), [])
                    break
            found = [entry and entry.value for entry in entries]
            assert found in ([b"1", b"2", None], [None, None, b"old"])


def _balance(entry: Entry | None) -> int:
    assert entry is not None
    return int(entry.value)
