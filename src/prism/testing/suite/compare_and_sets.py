"""Group Compare-and-set: `Capability.COMPARE_AND_SET`."""

from __future__ import annotations

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    InvalidArgument,
    Outcome,
    Unsupported,
    Version,
    VersionConflict,
    VersionKind,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import UNSUPPORTED, group, runs_without_capability
from prism.testing.suite.races import Races

SOME_VERSIONS = [Version(0), Version(1), Version(1 << 63), Version((1 << 64) - 1)]


@group(Capability.COMPARE_AND_SET)
class CompareAndSets(Races):
    """One caller at a time; `Races` has many."""

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

    async def test_if_absent_writes_an_absent_key(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.compare_and_set(key, b"value", expected=None)
        entry = await kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)

    async def test_if_absent_conflicts_with_a_live_key(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"other", expected=None)

    async def test_if_absent_conflicts_with_an_empty_value(
        self, kv: FullKeyValue, key: str
    ) -> None:
        await kv.set(key, b"")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"other", expected=None)

    async def test_if_absent_writes_a_deleted_key(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        await kv.compare_and_set(key, b"again", expected=None)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"again"

    async def test_the_version_of_set_wins(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"one")
        await kv.compare_and_set(key, b"two", expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"two"

    async def test_the_version_of_get_wins(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"one")
        before = await kv.get(key)
        assert before is not None
        await kv.compare_and_set(key, b"two", expected=before.version)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"two"

    async def test_the_version_of_a_winner_wins_the_next(self, kv: FullKeyValue, key: str) -> None:
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

    async def test_a_loser_changes_nothing(self, kv: FullKeyValue, key: str) -> None:
        outdated = await kv.set(key, b"one")
        await kv.set(key, b"two")
        before = await kv.get(key)
        for expected in (outdated, None):
            with pytest.raises(VersionConflict) as conflict:
                await kv.compare_and_set(key, b"three", expected=expected)
            assert conflict.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == before

    async def test_a_version_that_never_was_conflicts(self, kv: FullKeyValue, key: str) -> None:
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
        # Zero too: only None says that the key must be absent.
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

    async def test_a_version_is_not_taken_for_another_keys(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        version = await kv.set(f"{prefix}one", b"one")
        await kv.set(f"{prefix}two", b"two")
        await kv.compare_and_set(f"{prefix}one", b"new", expected=version)
        entry = await kv.get(f"{prefix}two")
        assert entry is not None
        assert entry.value == b"two"

    async def test_compare_and_delete_removes_the_version_it_names(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.set(key, b"value")
        await kv.compare_and_delete(key, expected=version)
        assert await kv.exists(key) is False

    async def test_compare_and_delete_of_an_outdated_version_changes_nothing(
        self, kv: FullKeyValue, key: str
    ) -> None:
        outdated = await kv.set(key, b"one")
        await kv.set(key, b"two")
        before = await kv.get(key)
        with pytest.raises(VersionConflict) as conflict:
            await kv.compare_and_delete(key, expected=outdated)
        assert conflict.value.outcome is Outcome.NOT_APPLIED
        assert await kv.get(key) == before

    async def test_an_empty_value_is_compared_as_any_other(
        self, kv: FullKeyValue, key: str
    ) -> None:
        version = await kv.set(key, b"")
        version = await kv.compare_and_set(key, b"value", expected=version)
        version = await kv.compare_and_set(key, b"", expected=version)
        await kv.compare_and_delete(key, expected=version)
        assert await kv.exists(key) is False

    async def test_a_value_over_the_limit_is_refused_with_a_condition_too(
        self, backend: Backend, key: str
    ) -> None:
        kv, limit = backend.kv, backend.profile.limits.max_value_bytes
        version = await kv.set(key, b"value")
        with pytest.raises(InvalidArgument):
            await kv.compare_and_set(key, bytes(limit + 1), expected=version)
        entry = await kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)

    async def test_a_revision_does_not_come_back_with_the_value(
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

    async def test_a_revision_does_not_survive_delete(self, backend: Backend, key: str) -> None:
        kv = backend.kv
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions are digests, and A→B→A may match")
        first = await kv.set(key, b"A")
        await kv.delete(key)
        await kv.set(key, b"A")
        with pytest.raises(VersionConflict):
            await kv.compare_and_set(key, b"C", expected=first)
