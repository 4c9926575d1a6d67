"""Ttls that are lost, stretched, or kept by the wrong."""

from __future__ import annotations

from datetime import timedelta

from prism.ports import Persisted, Version
from tests.selftest.faults.fault import Fault


class SetDropsTheTtl(Fault):
    caught_by = "test_ttl_tells_the_time_remaining"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value)


class SetKeepsAnEarlierTtl(Fault):
    caught_by = "test_set_without_ttl_removes_an_earlier_one"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        lifetime = await self.ttl(key)
        earlier = None if lifetime is None else lifetime.remaining
        return await super().set(key, value, ttl=ttl or earlier)


class KeysExpireEarly(Fault):
    caught_by = "test_a_key_lives_as_long_as_its_ttl"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value, ttl=ttl and ttl * 0.8)


class ExpiredKeysAreReturned(Fault):
    caught_by = "test_an_expired_key_can_be_set_again"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value, ttl=ttl and ttl + timedelta(seconds=10))


class PersistDoesNothing(Fault):
    caught_by = "test_persist_removes_a_ttl"

    async def persist(self, key: str) -> Persisted:
        lifetime = await self.ttl(key)
        if lifetime is None:
            return Persisted.NO_KEY
        return Persisted.EXPIRY_REMOVED if lifetime.remaining else Persisted.NO_EXPIRY


class ExpireCountsWholeSeconds(Fault):
    caught_by = "test_expire_is_exact_too"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        whole = timedelta(seconds=int(ttl.total_seconds()))
        if not whole:
            return await self.delete(key)
        return await super().expire(key, whole)


class ExpireOnlyShortens(Fault):
    caught_by = "test_expire_prolongs_a_life"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        lifetime = await self.ttl(key)
        if lifetime is not None and lifetime.remaining is not None and lifetime.remaining < ttl:
            return True
        return await super().expire(key, ttl)


class AThousandthIsLost(Fault):
    caught_by = "test_the_smallest_ttl_is_rounded_up_and_not_to_zero"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        # Rounded down to zero, which this backend takes for none.
        rounded = ttl and timedelta(milliseconds=ttl // timedelta(milliseconds=1))
        return await super().set(key, value, ttl=rounded or None)
