"""Group TTL: what happens at the expiry, by the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    Lifetime,
    Persisted,
)
from prism.testing.suite.group import Group, group
from prism.testing.suite.timing import LONG, Clock

Seen = Callable[[FullKeyValue, str], Awaitable[bool]]


async def _by_get(kv: FullKeyValue, key: str) -> bool:
    return await kv.get(key) is not None


async def _by_exists(kv: FullKeyValue, key: str) -> bool:
    return await kv.exists(key)


async def _by_ttl(kv: FullKeyValue, key: str) -> bool:
    return await kv.ttl(key) is not None


@group(Capability.TTL)
class Expiring(Group):
    """A key is never returned after its expiry and never lost before it."""

    @pytest.mark.parametrize("seen", [_by_get, _by_exists, _by_ttl])
    async def test_a_key_lives_as_long_as_its_ttl(
        self, kv: FullKeyValue, key: str, clock: Clock, seen: Seen
    ) -> None:
        await _watch(kv, key, clock, clock.short, seen)

    async def test_several_ttls_run_side_by_side(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        ttls = [clock.short * (1 + step / 3) for step in range(4)]
        if clock.granularity:
            ttls = [-(-ttl // clock.granularity) * clock.granularity for ttl in ttls]
        await asyncio.gather(
            *(
                _watch(kv, f"{prefix}{number}", clock, ttl, _by_get)
                for number, ttl in enumerate(ttls)
            )
        )

    async def test_expire_is_exact_too(self, kv: FullKeyValue, key: str, clock: Clock) -> None:
        await kv.set(key, b"value", ttl=LONG)

        async def expire(ttl: timedelta) -> None:
            assert await kv.expire(key, ttl) is True

        await _watch(kv, key, clock, clock.short, _by_get, begin=expire)

    async def test_what_has_no_ttl_outlives_what_has_one(
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
        # Set last and gone: so the first ttls are over as well.
        await kv.set(sentinel, b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, sentinel)
        assert await kv.get(lasting) is not None
        assert await kv.get(longer) is not None

    async def test_expire_prolongs_a_life(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        while not await kv.expire(f"{prefix}key", LONG):
            # The machine was busy for as long as the key had to live.
            await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        await kv.set(f"{prefix}sentinel", b"value", ttl=clock.short)
        await clock.wait_for_expiry(kv, f"{prefix}sentinel")
        assert await kv.exists(f"{prefix}key") is True

    async def test_a_persisted_key_outlives_its_ttl(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        await kv.set(f"{prefix}key", b"value", ttl=clock.short)
        while await kv.persist(f"{prefix}key") is Persisted.NO_KEY:
            # The machine was busy for as long as the key had to live.
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

    async def test_an_expired_key_is_an_absent_key(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
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
    async def test_the_smallest_ttl_is_rounded_up_and_not_to_zero(
        self, kv: FullKeyValue, key: str, clock: Clock, microseconds: int
    ) -> None:
        ttl = timedelta(microseconds=microseconds)
        before = time.monotonic()
        await kv.set(key, b"value", ttl=ttl)
        lifetime = await kv.ttl(key)
        took = time.monotonic() - before
        # Rounded down it would be lost at once, or worse, never.
        assert lifetime != Lifetime(None)
        assert lifetime is not None or took >= (clock.granularity - clock.error).total_seconds()
        await clock.wait_for_expiry(kv, key, ttl)


async def _watch(
    kv: FullKeyValue,
    key: str,
    clock: Clock,
    ttl: timedelta,
    seen: Seen,
    *,
    begin: Callable[[timedelta], Awaitable[None]] | None = None,
) -> None:
    """Look at a key all its life, and hold what is seen against the clock."""
    asked_for = time.monotonic()
    if begin is None:
        await kv.set(key, b"value", ttl=ttl)
    else:
        await begin(ttl)
    granted = time.monotonic()
    while True:
        asked = time.monotonic()
        alive = await seen(kv, key)
        answered = time.monotonic()
        if not alive:
            early = asked_for + clock.earliest_expiry(ttl) - answered
            assert early <= 0, f"lost {early:.3f} s before its expiry"
            return
        late = asked - granted - clock.latest_expiry(ttl)
        assert late <= 0, f"returned {late:.3f} s after its expiry"
        await asyncio.sleep(0.005)
