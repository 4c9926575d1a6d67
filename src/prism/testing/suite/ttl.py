"""Group TTL: `Capability.TTL`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prism.ports import (
    MAX_TTL,
    Capability,
    FullKeyValue,
    InvalidArgument,
    Lifetime,
    Outcome,
    Persisted,
    Unsupported,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.expiry import Expiring
from prism.testing.suite.group import group, runs_without_capability
from prism.testing.suite.timing import LONG, Clock

BAD_TTLS = {
    "zero": timedelta(),
    "a microsecond less than zero": timedelta(microseconds=-1),
    "negative": timedelta(seconds=-1),
    "the most negative": timedelta.min,
    "a millisecond over 100 years": MAX_TTL + timedelta(milliseconds=1),
    "the longest": timedelta.max,
}


@group(Capability.TTL)
class Ttl(Expiring):
    """set with a ttl, expire, ttl, persist; `Expiring` has what happens at the expiry."""

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

    async def test_ttl_of_a_key_without_one_is_for_ever(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.ttl(key) == Lifetime(None)

    async def test_ttl_tells_the_time_remaining(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"value", ttl=LONG)
        assert _is_about(await kv.ttl(key), LONG, clock)

    async def test_an_entry_tells_when_it_expires(self, kv: FullKeyValue, prefix: str) -> None:
        # The backend's clock may be anywhere; the distance between two expiries may not.
        await kv.set(f"{prefix}one", b"value", ttl=LONG)
        await kv.set(f"{prefix}two", b"value", ttl=2 * LONG)
        one, two = await kv.get(f"{prefix}one"), await kv.get(f"{prefix}two")
        assert one is not None
        assert two is not None
        assert one.expires_at_ms is not None
        assert two.expires_at_ms is not None
        apart = timedelta(milliseconds=two.expires_at_ms - one.expires_at_ms)
        assert abs(apart - LONG) < timedelta(seconds=30)

    async def test_a_ttl_does_not_touch_the_value(self, kv: FullKeyValue, key: str) -> None:
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

    async def test_a_deleted_key_takes_its_ttl_along(self, kv: FullKeyValue, key: str) -> None:
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

    async def test_expire_of_an_absent_key_makes_none(self, kv: FullKeyValue, key: str) -> None:
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

    async def test_a_hundred_years_are_a_ttl(
        self, kv: FullKeyValue, key: str, clock: Clock
    ) -> None:
        await kv.set(key, b"value", ttl=MAX_TTL)
        assert _is_about(await kv.ttl(key), MAX_TTL, clock)
        await kv.set(key, b"value")
        assert await kv.expire(key, MAX_TTL) is True
        assert _is_about(await kv.ttl(key), MAX_TTL, clock)

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


def _is_about(lifetime: Lifetime | None, ttl: timedelta, clock: Clock) -> bool:
    """The time remaining a moment after the ttl was asked for."""
    if lifetime is None or lifetime.remaining is None:
        return False
    latest = timedelta(seconds=clock.latest_expiry(ttl))
    earliest = timedelta(seconds=clock.earliest_expiry(ttl)) - timedelta(seconds=30)
    return earliest < lifetime.remaining <= latest
