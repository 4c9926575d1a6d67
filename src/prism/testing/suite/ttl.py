"""Group ttl: `Capability.TTL`."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    Persisted,
    Unsupported,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.expired import ExpiredKeys
from prism.testing.suite.group import group, runs_without_capability
from prism.testing.suite.timing import LONG, Clock
from prism.testing.suite.ttl_writes import BAD_TTLS, EXISTENCE, Exists, TtlWrites, check_expiry


@group(Capability.TTL)
class Ttl(TtlWrites, ExpiredKeys):
    """set with a ttl, expire, ttl and persist."""

    @runs_without_capability
    async def test_ttl_is_refused_unless_declared(self, backend: Backend, key: str) -> None:
        kv = backend.kv
        if Capability.TTL in backend.profile.capabilities:
            await kv.set(key, b"value", ttl=LONG)
            assert await kv.ttl(key) is not None
            return
        with pytest.raises(Unsupported):
            await kv.set(key, b"value", ttl=LONG)
        assert await kv.get(key) is None
        await kv.set(key, b"value")
        with pytest.raises(Unsupported):
            await kv.expire(key, timedelta(milliseconds=1))
        with pytest.raises(Unsupported):
            await kv.ttl(key)
        with pytest.raises(Unsupported):
            await kv.persist(key)
        assert await kv.exists(key) is True

    async def test_ttl_of_an_absent_key_is_none(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.ttl(key) is None

    async def test_ttl_of_a_key_without_expiry_has_no_remaining_time(
        self, kv: FullKeyValue, key: str
    ) -> None:
        await kv.set(key, b"value")
        assert await kv.ttl(key) == Lifetime(None)

    async def test_ttl_returns_the_remaining_time(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"value", ttl=LONG)
        assert _is_about(await kv.ttl(key), LONG, clock)

    async def test_a_ttl_does_not_change_the_value(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"value", ttl=LONG)
        entry = await kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", version)

    async def test_set_without_ttl_removes_an_earlier_one(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value", ttl=LONG)
        await kv.set(key, b"value")
        assert await kv.ttl(key) == Lifetime(None)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.expires_at_ms is None

    async def test_set_with_ttl_replaces_an_earlier_one(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        for ttl in (LONG, 3 * LONG, 2 * LONG):
            await kv.set(key, b"value", ttl=ttl)
            assert _is_about(await kv.ttl(key), ttl, clock)

    async def test_delete_removes_the_ttl(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value", ttl=LONG)
        assert await kv.delete(key) is True
        assert await kv.ttl(key) is None
        await kv.set(key, b"value")
        assert await kv.ttl(key) == Lifetime(None)

    async def test_expire_gives_a_key_a_ttl(self, kv: FullKeyValue, key: str, clock: Clock) -> None:
        await kv.set(key, b"value")
        assert await kv.expire(key, LONG) is True
        assert _is_about(await kv.ttl(key), LONG, clock)

    async def test_expire_replaces_a_ttl(self, kv: FullKeyValue, key: str, clock: Clock) -> None:
        await kv.set(key, b"value", ttl=2 * LONG)
        for ttl in (3 * LONG, LONG):
            assert await kv.expire(key, ttl) is True
            assert _is_about(await kv.ttl(key), ttl, clock)

    async def test_expire_keeps_the_value(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.expire(key, LONG)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"value"

    async def test_expire_of_an_absent_key_does_not_create_it(
        self, kv: FullKeyValue, key: str
    ) -> None:
        assert await kv.expire(key, LONG) is False
        assert await kv.exists(key) is False

    async def test_persist_removes_a_ttl(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value", ttl=LONG)
        assert await kv.persist(key) is Persisted.EXPIRY_REMOVED
        assert await kv.ttl(key) == Lifetime(None)

    async def test_persist_keeps_the_value(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value", ttl=LONG)
        await kv.persist(key)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"value"

    async def test_persist_of_a_key_without_ttl_says_so(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.persist(key) is Persisted.NO_EXPIRY

    async def test_persist_of_an_absent_key_says_so(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.persist(key) is Persisted.NO_KEY
        assert await kv.exists(key) is False

    @pytest.mark.parametrize("ttl", BAD_TTLS.values(), ids=BAD_TTLS.keys())
    async def test_set_refuses_a_bad_ttl(self, kv: FullKeyValue, key: str, ttl: timedelta) -> None:
        with pytest.raises(InvalidArgument) as refusal:
            await kv.set(key, b"value", ttl=ttl)
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert await kv.exists(key) is False

    @pytest.mark.parametrize("ttl", BAD_TTLS.values(), ids=BAD_TTLS.keys())
    async def test_expire_refuses_a_bad_ttl(
        self, kv: FullKeyValue, key: str, ttl: timedelta
    ) -> None:
        await kv.set(key, b"value")
        with pytest.raises(InvalidArgument) as refusal:
            await kv.expire(key, ttl)
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert await kv.ttl(key) == Lifetime(None)

    # Expiry: no key is lost before its time, or returned after it

    @pytest.mark.parametrize("exists", EXISTENCE.values(), ids=EXISTENCE.keys())
    async def test_a_key_expires_at_its_ttl_and_not_before(
        self, kv: FullKeyValue, key: str, clock: Clock, exists: Exists
    ) -> None:
        await check_expiry(kv, key, clock, clock.short, exists)

    async def test_keys_with_different_ttls_expire_independently(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        ttls = [clock.short * (1 + step / 3) for step in range(4)]
        if clock.granularity:
            ttls = [-(-ttl // clock.granularity) * clock.granularity for ttl in ttls]
        await asyncio.gather(
            *(
                check_expiry(kv, f"{prefix}{number}", clock, ttl, EXISTENCE["get"])
                for number, ttl in enumerate(ttls)
            )
        )

    async def test_a_key_without_ttl_does_not_expire(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        await kv.set(f"{prefix}stays", b"value")
        await kv.set(f"{prefix}goes", b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, f"{prefix}goes")
        assert await kv.exists(f"{prefix}stays") is True

    async def test_set_resets_the_ttl(self, kv: FullKeyValue, prefix: str, clock: Clock) -> None:
        lasting, longer, sentinel = (f"{prefix}{name}" for name in ("no", "long", "sentinel"))
        for key in (lasting, longer):
            await kv.set(key, b"old", ttl=clock.short)
        await kv.set(lasting, b"new")
        await kv.set(longer, b"new", ttl=LONG)
        # Written last: once this key has expired, the first ttls have passed too.
        await kv.set(sentinel, b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, sentinel)
        assert await kv.get(lasting) is not None
        assert await kv.get(longer) is not None

    async def test_expire_can_extend_a_ttl(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        while not await kv.expire(f"{prefix}key", LONG):
            # The machine was so busy that the key had expired.
            await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        await kv.set(f"{prefix}sentinel", b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, f"{prefix}sentinel")
        assert await kv.exists(f"{prefix}key") is True

    async def test_a_persisted_key_does_not_expire(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        while await kv.persist(f"{prefix}key") is Persisted.NO_KEY:
            # The machine was so busy that the key had expired.
            await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        await kv.set(f"{prefix}sentinel", b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, f"{prefix}sentinel")
        assert await kv.exists(f"{prefix}key") is True

    async def test_a_key_set_again_after_delete_does_not_inherit_the_expiry(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        await kv.delete(f"{prefix}key")
        await kv.set(f"{prefix}key", b"value")
        await kv.set(f"{prefix}sentinel", b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, f"{prefix}sentinel")
        assert await kv.exists(f"{prefix}key") is True

    async def test_an_expired_key_is_absent(self, kv: FullKeyValue, key: str, clock: Clock) -> None:
        await kv.set(key, b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, key)
        assert await kv.exists(key) is False
        assert await kv.ttl(key) is None
        assert await kv.expire(key, LONG) is False
        assert await kv.persist(key) is Persisted.NO_KEY
        assert await kv.delete(key) is False
        assert await kv.get(key) is None

    async def test_an_expired_key_can_be_set_again(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"old", ttl=clock.short)
        await clock.wait_for_expiry(kv, key)
        await kv.set(key, b"new")
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"new"
        assert await kv.ttl(key) == Lifetime(None)

    @pytest.mark.parametrize("microseconds", [1, 400, 1001])
    async def test_the_smallest_ttl_is_rounded_up_not_to_zero(
        self, kv: FullKeyValue, key: str, clock: Clock, microseconds: int
    ) -> None:
        ttl = timedelta(microseconds=microseconds)
        before = time.monotonic()
        await kv.set(key, b"value", ttl=ttl)
        lifetime = await kv.ttl(key)
        took = time.monotonic() - before
        # Rounded down to zero, the key would expire at once or never.
        assert lifetime != Lifetime(None)
        assert lifetime is not None or took >= (clock.granularity - clock.error).total_seconds()
        await clock.wait_for_expiry(kv, key, ttl)


def _is_about(lifetime: Lifetime | None, ttl: timedelta, clock: Clock) -> bool:
    """Return whether the lifetime fits a key that received this ttl a moment ago."""
    if lifetime is None or lifetime.remaining is None:
        return False
    latest = timedelta(seconds=clock.latest_expiry(ttl))
    earliest = timedelta(seconds=clock.earliest_expiry(ttl)) - timedelta(seconds=30)
    return earliest < lifetime.remaining <= latest
