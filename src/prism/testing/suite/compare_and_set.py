"""Group compare-and-set: `Capability.COMPARE_AND_SET`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TypeVar

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    Unsupported,
    Version,
    VersionConflict,
    VersionKind,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import UNSUPPORTED, Group, group, needs, runs_without_capability
from prism.testing.suite.timing import LONG, Clock
from prism.testing.suite.ttl_writes import BAD_TTLS

SOME_VERSIONS = [Version(0), Version(1), Version(1 << 63), Version((1 << 64) - 1)]

RACERS = 16

ROUNDS = 10

Result = TypeVar("Result")


@group(Capability.COMPARE_AND_SET)
class CompareAndSets(Group):
    """compare_and_set and compare_and_delete."""

    @runs_without_capability
    async def test_compare_and_set_is_refused_unless_declared(
        self, backend: Backend, key: str
    ) -> None:
        kv = backend.kv
        if Capability.COMPARE_AND_SET in backend.profile.capabilities:
            await kv.compare_and_set(key, b"value", expected=None)
            assert await kv.exists(key) is True
            return
        with pytest.raises(Unsupported):
            await kv.compare_and_set(key, b"value", expected=None)
        assert await kv.exists(key) is False
        version = await kv.set(key, b"value")
        with pytest.raises(Unsupported):
            await kv.compare_and_set(key, b"other", expected=version)
        with pytest.raises(Unsupported):
            await kv.compare_and_delete(key, expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"value"

    async def test_set_if_absent_writes_an_absent_key(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.compare_and_set(key, b"value", expected=None)
        entry = await kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)

    async def test_set_if_absent_conflicts_with_an_existing_key(
        self, kv: FullKeyValue, key: str
    ) -> None:
        await kv.set(key, b"value")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"other", expected=None)

    async def test_set_if_absent_conflicts_with_an_empty_value(
        self, kv: FullKeyValue, key: str
    ) -> None:
        await kv.set(key, b"")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"other", expected=None)

    async def test_set_if_absent_writes_a_deleted_key(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        await kv.compare_and_set(key, b"again", expected=None)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"again"

    async def test_the_version_returned_by_set_matches(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"one")
        await kv.compare_and_set(key, b"two", expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"two"

    async def test_the_version_returned_by_get_matches(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"one")
        before = await kv.get(key)
        assert before is not None
        await kv.compare_and_set(key, b"two", expected=before.version)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"two"

    async def test_the_version_returned_by_compare_and_set_matches(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.compare_and_set(key, b"0", expected=None)
        for turn in range(1, 10):
            version = await kv.compare_and_set(key, b"%d" % turn, expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"9", version)

    async def test_an_outdated_version_conflicts(self, kv: FullKeyValue, key: str) -> None:
        outdated = await kv.set(key, b"one")
        await kv.set(key, b"two")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"three", expected=outdated)

    async def test_a_conflict_changes_nothing(self, kv: FullKeyValue, key: str) -> None:
        outdated = await kv.set(key, b"one")
        await kv.set(key, b"two")
        before = await kv.get(key)
        for expected in (outdated, None):
            with pytest.raises(VersionConflict) as conflict:
                await kv.compare_and_set(key, b"three", expected=expected)
            assert conflict.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == before

    async def test_a_version_that_never_existed_conflicts(self, kv: FullKeyValue, key: str) -> None:
        current = await kv.set(key, b"value")
        for version in SOME_VERSIONS:
            if version == current:
                continue
            with pytest.raises(VersionConflict):
                await kv.compare_and_set(key, b"other", expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"value"

    @pytest.mark.parametrize("version", SOME_VERSIONS)
    async def test_any_version_of_an_absent_key_conflicts(
        self, kv: FullKeyValue, key: str, version: Version
    ) -> None:
        # Also version 0: only None means that the key must be absent.
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"value", expected=version)
        with pytest.raises(VersionConflict):
            await kv.compare_and_delete(key, expected=version)
        assert await kv.exists(key) is False

    async def test_the_version_of_a_deleted_key_conflicts(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"value")
        await kv.delete(key)
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"other", expected=version)
        assert await kv.exists(key) is False

    async def test_a_compare_and_set_leaves_other_keys_alone(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        version = await kv.set(f"{prefix}one", b"one")
        await kv.set(f"{prefix}two", b"two")
        await kv.compare_and_set(f"{prefix}one", b"new", expected=version)
        entry = await kv.get(f"{prefix}two")
        assert entry is not None
        assert entry.value == b"two"

    async def test_a_write_to_another_key_keeps_the_version(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        # Versions of two keys have nothing in common: they may be equal, and both change alone.
        keys = [f"{prefix}{number}" for number in range(5)]
        versions = [await kv.set(key, b"value") for key in keys]
        await kv.delete(keys[0])
        for key, version in list(zip(keys, versions, strict=True))[1:]:
            entry = await kv.get(key)
            assert entry is not None
            assert entry.version == version
            await kv.compare_and_set(key, b"new", expected=version)

    async def test_compare_and_delete_removes_the_expected_version(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.set(key, b"value")
        await kv.compare_and_delete(key, expected=version)
        assert await kv.exists(key) is False

    async def test_compare_and_delete_of_an_outdated_version_conflicts(
        self, kv: FullKeyValue, key: str
    ) -> None:
        outdated = await kv.set(key, b"one")
        await kv.set(key, b"two")
        before = await kv.get(key)
        with pytest.raises(VersionConflict) as conflict:
            await kv.compare_and_delete(key, expected=outdated)
        assert conflict.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == before

    async def test_an_empty_value_is_compared_like_any_other(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.set(key, b"")
        version = await kv.compare_and_set(key, b"value", expected=version)
        version = await kv.compare_and_set(key, b"", expected=version)
        await kv.compare_and_delete(key, expected=version)
        assert await kv.exists(key) is False

    async def test_compare_and_set_refuses_a_value_over_the_limit(
        self, backend: Backend, key: str
    ) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_value_bytes
        version = await kv.set(key, b"value")
        with pytest.raises(InvalidArgument):
            await kv.compare_and_set(key, bytes(limit + 1), expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)

    async def test_a_revision_does_not_return_with_an_earlier_value(
        self, backend: Backend, key: str
    ) -> None:
        kv = backend.kv
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions are digests, and A→B→A may match")
        first = await kv.set(key, b"A")
        await kv.set(key, b"B")
        await kv.set(key, b"A")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"C", expected=first)
        with pytest.raises(VersionConflict):
            await kv.compare_and_delete(key, expected=first)

    async def test_a_revision_changes_with_an_equal_value(self, backend: Backend, key: str) -> None:
        kv = backend.kv
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions are digests, and equal values have the same")
        versions = [await kv.set(key, b"same") for _ in range(3)]
        versions.append(await kv.compare_and_set(key, b"same", expected=versions[-1]))
        assert len(set(versions)) == 4
        for outdated in versions[:-1]:
            with pytest.raises(VersionConflict):
                await kv.compare_and_set(key, b"other", expected=outdated)

    async def test_a_revision_does_not_return_after_a_delete(
        self, backend: Backend, key: str
    ) -> None:
        kv = backend.kv
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions are digests, and A→B→A may match")
        first = await kv.set(key, b"A")
        await kv.delete(key)
        await kv.set(key, b"A")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"C", expected=first)

    # Races: of concurrent calls that expect the same version, exactly one succeeds

    async def test_one_of_many_writers_wins_a_version(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"start")
        for turn in range(ROUNDS):
            values = [b"%d by %d" % (turn, racer) for racer in range(RACERS)]
            winner, version = await _only_winner(
                [kv.compare_and_set(key, value, expected=version) for value in values]
            )
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (values[winner], version)

    async def test_one_of_many_writers_wins_an_absent_key(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        for turn in range(ROUNDS):
            key = f"{prefix}{turn}"
            values = [b"by %d" % racer for racer in range(RACERS)]
            winner, version = await _only_winner(
                [kv.compare_and_set(key, value, expected=None) for value in values]
            )
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (values[winner], version)

    async def test_one_of_many_conditional_deletes_wins(self, kv: FullKeyValue, key: str) -> None:
        for _ in range(ROUNDS):
            version = await kv.set(key, b"value")
            await _only_winner(
                [kv.compare_and_delete(key, expected=version) for _ in range(RACERS)]
            )
            assert await kv.exists(key) is False

    async def test_one_of_many_writers_and_deleters_wins(self, kv: FullKeyValue, key: str) -> None:
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
    async def test_compare_and_set_sets_a_ttl(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.compare_and_set(key, b"one", expected=None, ttl=LONG)
        assert await _expires(kv, key)
        await kv.compare_and_set(key, b"two", expected=version, ttl=LONG)
        assert await _expires(kv, key)

    @needs(Capability.TTL)
    async def test_a_ttl_set_by_compare_and_set_expires(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.compare_and_set(key, b"value", expected=None, ttl=clock.short)
        assert await kv.exists(key) is True
        await clock.wait_for_expiry(kv, key)

    @needs(Capability.TTL)
    @pytest.mark.parametrize("ttl", BAD_TTLS.values(), ids=BAD_TTLS.keys())
    async def test_compare_and_set_refuses_a_bad_ttl(
        self, kv: FullKeyValue, key: str, ttl: timedelta
    ) -> None:
        with pytest.raises(InvalidArgument):
            await kv.compare_and_set(key, b"value", expected=None, ttl=ttl)
        assert await kv.exists(key) is False
        version = await kv.set(key, b"value")
        with pytest.raises(InvalidArgument) as refusal:
            await kv.compare_and_set(key, b"other", expected=version, ttl=ttl)
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == (b"value", version, None)

    @needs(Capability.TTL)
    async def test_compare_and_set_without_ttl_removes_an_earlier_one(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.set(key, b"one", ttl=LONG)
        await kv.compare_and_set(key, b"two", expected=version)
        assert await kv.ttl(key) == Lifetime(None)

    @needs(Capability.TTL)
    async def test_a_conflict_leaves_the_ttl_unchanged(self, kv: FullKeyValue, prefix: str) -> None:
        await kv.set(f"{prefix}expires", b"value", ttl=LONG)
        await kv.set(f"{prefix}lasts", b"value")
        for key in (f"{prefix}expires", f"{prefix}lasts"):
            before = await kv.get(key)
            for ttl in (None, 2 * LONG):
                with pytest.raises(VersionConflict):
                    await kv.compare_and_set(key, b"other", expected=None, ttl=ttl)
            assert await kv.get(key) == before

    @needs(Capability.TTL)
    async def test_set_if_absent_writes_an_expired_key(
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
    """Run the calls at once; return the index and the result of the only one that succeeded."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    winners: list[tuple[int, Result]] = []
    for at, outcome in enumerate(outcomes):
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, VersionConflict), (
                f"call {at} failed with {outcome!r}, not with VersionConflict"
            )
        else:
            winners.append((at, outcome))
    assert len(winners) == 1, (
        f"{len(winners)} of {len(outcomes)} concurrent calls succeeded, expected 1"
    )
    return winners[0]
