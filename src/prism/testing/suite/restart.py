"""Group lifecycle, continued: what a store keeps when its driver or its server starts again."""

from __future__ import annotations

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Capability,
    Condition,
    Delete,
    Entry,
    FullKeyValue,
    Presence,
    Put,
    ScanExpired,
    Version,
    VersionConflict,
    VersionKind,
)
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.group import NOT_REACHABLE, UNSUPPORTED, Group, group, needs
from prism.testing.suite.timing import LONG, Clock, wait_until
from prism.testing.suite.transactions_together import entries_of, keys_together

KEYS = 40
PAGE = 7


@group(time_limit_seconds=90.0)
class Restarts(Group):
    """A driver is stopped and another one is started on the same store."""

    @pytest.fixture
    def keeps_data(self, backend: Backend) -> None:
        if backend.profile.ephemeral:
            pytest.skip(f"{UNSUPPORTED}{backend.profile.driver} is ephemeral")

    @pytest.fixture
    def restarts_quickly(self, backend: Backend) -> None:
        if backend.level is Level.PROXY:
            # A new proxy each time: two tests of the group are enough there.
            pytest.skip(f"{NOT_REACHABLE}a restart takes seconds")

    @pytest.fixture
    def has_revisions(self, backend: Backend) -> None:
        if backend.profile.version_kind is not VersionKind.REVISION:
            pytest.skip(f"{UNSUPPORTED}versions of {backend.profile.driver} are digests")

    @pytest.mark.usefixtures("keeps_data")
    async def test_acknowledged_writes_survive_a_restart(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        values = {f"{prefix}{number}": b"%d" % number for number in range(KEYS)}
        deleted = f"{prefix}deleted"
        async with open_backend() as first:
            for key, value in values.items():
                await first.kv.set(key, value)
            await first.kv.set(deleted, b"value")
            assert await first.kv.delete(deleted)
            await first.lifecycle.stop()
        async with open_backend() as second:
            found = {key: await second.kv.get(key) for key in (*values, deleted)}
        lost = [key for key, value in values.items() if _value(found[key]) != value]
        assert lost == []
        assert found[deleted] is None, "a deleted key came back"

    @pytest.mark.usefixtures("keeps_data", "restarts_quickly")
    @needs(Capability.TTL)
    async def test_a_ttl_survives_a_restart(
        self, open_backend: OpenBackend, prefix: str, clock: Clock
    ) -> None:
        short, long = f"{prefix}short", f"{prefix}long"
        async with open_backend() as first:
            await first.kv.set(short, b"value", ttl=clock.short)
            await first.kv.set(long, b"value", ttl=LONG)
            before = await first.kv.get(long)
            await first.lifecycle.stop()
        async with open_backend() as second:
            after = await second.kv.get(long)
            await clock.wait_for_expiry(second.kv, short)
        assert before is not None
        assert after is not None
        assert after.expires_at_ms == before.expires_at_ms

    @pytest.mark.usefixtures("keeps_data", "restarts_quickly")
    @needs(Capability.BATCH, Capability.COUNTER)
    async def test_batches_and_counters_survive_a_restart(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        keys, counter = [f"{prefix}{number}" for number in range(KEYS)], f"{prefix}counter"
        async with open_backend() as first:
            await first.kv.set_many([Put(key, key.encode()) for key in keys])
            await first.kv.delete_many(keys[::2])
            for _ in range(3):
                await first.kv.increment(counter, 2)
            await first.lifecycle.stop()
        async with open_backend() as second:
            found = await second.kv.get_many(keys)
            assert (await second.kv.increment(counter)).value == 7
        assert all(entry is None for entry in found[::2])
        assert [isinstance(entry, Entry) for entry in found[1::2]] == [True] * (KEYS // 2)

    @pytest.mark.usefixtures("keeps_data", "restarts_quickly")
    @needs(Capability.TRANSACTIONS)
    async def test_transactions_survive_a_restart(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        keys = keys_together(prefix, KEYS)
        async with open_backend() as first:
            await first.kv.apply([], [Put(key, b"old") for key in keys])
            versions = await first.kv.apply(
                [Condition(key, Presence.PRESENT) for key in keys],
                [*(Put(key, b"new") for key in keys[1:]), Delete(keys[0])],
            )
            await first.lifecycle.stop()
        async with open_backend() as second:
            gone, *found = await entries_of(second.kv, keys)
        assert gone is None
        assert [entry and (entry.value, entry.version) for entry in found] == [
            (b"new", version) for version in versions[:-1]
        ]

    @pytest.mark.usefixtures("has_revisions")
    async def test_a_revision_never_repeats_across_a_restart(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        seen: dict[str, list[Version]] = {f"{prefix}{number}": [] for number in range(3)}
        for _ in range(3):
            async with open_backend() as backend:
                await _write(backend.kv, seen)
                await backend.lifecycle.stop()
        for key, versions in seen.items():
            assert len(set(versions)) == len(versions), key

    @pytest.mark.usefixtures("has_revisions", "restarts_quickly")
    @needs(Capability.COMPARE_AND_SET)
    async def test_a_revision_from_before_a_restart_and_a_delete_conflicts(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        async with open_backend() as first:
            old = await first.kv.set(key, b"value")
            await first.kv.delete(key)
            await first.lifecycle.stop()
        async with open_backend() as second:
            await second.kv.set(key, b"value")
            with pytest.raises(VersionConflict):
                await second.kv.compare_and_set(key, b"other", expected=old)
            with pytest.raises(VersionConflict):
                await second.kv.compare_and_delete(key, expected=old)

    @pytest.mark.usefixtures("has_revisions")
    async def test_a_revision_never_repeats_across_a_server_crash(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        seen: dict[str, list[Version]] = {f"{prefix}{number}": [] for number in range(3)}
        async with open_backend() as backend:
            if backend.server is None:
                pytest.skip(f"{NOT_REACHABLE}no server stands behind the driver")
            for _ in range(2):
                await _write(backend.kv, seen)
                await backend.server.kill()
                await backend.server.start()
                await wait_until(lambda: _answers(backend.kv, prefix), "calls succeed again")
            await _write(backend.kv, seen)
        for key, versions in seen.items():
            assert len(set(versions)) == len(versions), key

    @pytest.mark.usefixtures("keeps_data", "restarts_quickly")
    @needs(Capability.SCAN)
    async def test_a_scan_goes_on_after_a_restart_or_says_that_it_cannot(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        keys = {f"{prefix}{number}" for number in range(KEYS)}
        async with open_backend() as first:
            for key in keys:
                await first.kv.set(key, b"value")
            page = await first.kv.scan(prefix, page_size=PAGE)
            await first.lifecycle.stop()
        seen = set(page.keys)
        async with open_backend() as second:
            try:
                while page.next_token:
                    page = await second.kv.scan(prefix, page_size=PAGE, page_token=page.next_token)
                    seen |= set(page.keys)
            except ScanExpired:
                return
        assert seen == keys


async def _write(kv: FullKeyValue, seen: dict[str, list[Version]]) -> None:
    """Write the same value several times, with deletes between, and note the versions."""
    for key, versions in seen.items():
        for _ in range(2):
            versions.append(await kv.set(key, b"value"))
            versions.append(await kv.set(key, b"value"))
            await kv.delete(key)


async def _answers(kv: FullKeyValue, prefix: str) -> bool:
    try:
        await kv.set(f"{prefix}again", b"")
    except (BackendUnavailable, BackendTimeout):
        return False
    return True


def _value(entry: Entry | None) -> bytes | None:
    return None if entry is None else entry.value
