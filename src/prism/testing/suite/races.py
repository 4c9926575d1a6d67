"""Group Compare-and-set: races, and conditions together with a ttl."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import pytest

from prism.ports import Capability, FullKeyValue, Lifetime, VersionConflict
from prism.testing.suite.group import Group, group, needs
from prism.testing.suite.timing import LONG, Clock

RACERS = 16
ROUNDS = 10

Result = TypeVar("Result")


@group(Capability.COMPARE_AND_SET)
class Races(Group):
    """Of N racers on one state, exactly one wins."""

    async def test_one_of_many_wins_on_a_version(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"start")
        for turn in range(ROUNDS):
            values = [b"%d by %d" % (turn, racer) for racer in range(RACERS)]
            winner, version = await _only_winner(
                [kv.compare_and_set(key, value, expected=version) for value in values]
            )
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (values[winner], version)

    async def test_one_of_many_wins_an_absent_key(self, kv: FullKeyValue, prefix: str) -> None:
        for turn in range(ROUNDS):
            key = f"{prefix}{turn}"
            values = [b"by %d" % racer for racer in range(RACERS)]
            winner, version = await _only_winner(
                [kv.compare_and_set(key, value, expected=None) for value in values]
            )
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (values[winner], version)

    async def test_one_of_many_deletes(self, kv: FullKeyValue, key: str) -> None:
        for _ in range(ROUNDS):
            version = await kv.set(key, b"value")
            await _only_winner(
                [kv.compare_and_delete(key, expected=version) for _ in range(RACERS)]
            )
            assert await kv.exists(key) is False

    async def test_one_wins_between_writers_and_deleters(self, kv: FullKeyValue, key: str) -> None:
        async def write(value: bytes) -> None:
            await kv.compare_and_set(key, value, expected=version)

        async def delete() -> None:
            await kv.compare_and_delete(key, expected=version)

        for _ in range(ROUNDS):
            version = await kv.set(key, b"start")
            values = [b"by %d" % racer for racer in range(RACERS)]
            calls = [write(value) if at % 2 else delete() for at, value in enumerate(values)]
            winner, _ = await _only_winner(calls)
            entry = await kv.get(key)
            assert (entry and entry.value) == (values[winner] if winner % 2 else None)

    async def test_retrying_on_conflict_loses_no_update(self, kv: FullKeyValue, key: str) -> None:
        async def add() -> None:
            while True:
                entry = await kv.get(key)
                assert entry is not None
                try:
                    await kv.compare_and_set(
                        key, b"%d" % (int(entry.value) + 1), expected=entry.version
                    )
                except VersionConflict:
                    continue
                return

        await kv.set(key, b"0")
        await asyncio.gather(*(add() for _ in range(RACERS)))
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"%d" % RACERS

    @needs(Capability.TTL)
    async def test_a_condition_combines_with_a_ttl(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.compare_and_set(key, b"one", expected=None, ttl=LONG)
        assert await _expires(kv, key)
        await kv.compare_and_set(key, b"two", expected=version, ttl=LONG)
        assert await _expires(kv, key)

    @needs(Capability.TTL)
    async def test_a_ttl_set_with_a_condition_expires(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.compare_and_set(key, b"value", expected=None, ttl=clock.short)
        assert await kv.exists(key) is True
        await clock.wait_for_expiry(kv, key)

    @needs(Capability.TTL)
    async def test_a_winner_without_ttl_removes_an_earlier_one(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.set(key, b"one", ttl=LONG)
        await kv.compare_and_set(key, b"two", expected=version)
        assert await kv.ttl(key) == Lifetime(None)

    @needs(Capability.TTL)
    async def test_a_loser_leaves_the_ttl_as_it_was(self, kv: FullKeyValue, prefix: str) -> None:
        await kv.set(f"{prefix}expires", b"value", ttl=LONG)
        await kv.set(f"{prefix}lasts", b"value")
        for key in (f"{prefix}expires", f"{prefix}lasts"):
            before = await kv.get(key)
            for ttl in (None, 2 * LONG):
                with pytest.raises(VersionConflict):
                    await kv.compare_and_set(key, b"other", expected=None, ttl=ttl)
            assert await kv.get(key) == before

    @needs(Capability.TTL)
    async def test_if_absent_writes_an_expired_key(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"old", ttl=clock.short)
        await clock.wait_for_expiry(kv, key)
        await kv.compare_and_set(key, b"new", expected=None)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"new"

    @needs(Capability.TTL)
    async def test_the_version_of_an_expired_key_conflicts(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        version = await kv.set(key, b"old", ttl=clock.short)
        await clock.wait_for_expiry(kv, key)
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"new", expected=version)
        with pytest.raises(VersionConflict):
            await kv.compare_and_delete(key, expected=version)
        assert await kv.exists(key) is False


async def _expires(kv: FullKeyValue, key: str) -> bool:
    lifetime = await kv.ttl(key)
    return lifetime is not None and lifetime.remaining is not None


async def _only_winner(calls: Sequence[Awaitable[Result]]) -> tuple[int, Result]:
    """Run the calls at once: which one won, and its result."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    winners: list[tuple[int, Result]] = []
    for at, outcome in enumerate(outcomes):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, VersionConflict), f"neither won nor lost: {outcome!r}"
        else:
            winners.append((at, outcome))
    assert len(winners) == 1, f"{len(winners)} of {len(outcomes)} racers won"
    return winners[0]
