"""Group ttl: the same exactness, rounding and limits for a ttl from every write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeAlias

import pytest

from prism.ports import (
    MAX_TTL,
    Capability,
    FullKeyValue,
    Lifetime,
    Profile,
    Put,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import Group, group, needs, skip_unless_declared
from prism.testing.suite.operations import only_item, reads_of
from prism.testing.suite.timing import LONG, ROUNDING, Clock

Exists: TypeAlias = Callable[[FullKeyValue, str], Awaitable[bool]]
TtlWrite: TypeAlias = Callable[[FullKeyValue, str, timedelta], Awaitable[object]]
"""Writes a key that is absent, so that it has this ttl."""

BAD_TTLS = {
    "zero": timedelta(),
    "a microsecond less than zero": timedelta(microseconds=-1),
    "negative": timedelta(seconds=-1),
    "the most negative": timedelta.min,
    "a millisecond over 100 years": MAX_TTL + timedelta(milliseconds=1),
    "the longest": timedelta.max,
}

SIZES = {
    "a second and a half": timedelta(seconds=1.5),
    "a minute": timedelta(seconds=60.4),
    "an hour": timedelta(hours=1, milliseconds=500),
    "a day": timedelta(days=1, milliseconds=1),
    "2**31 - 1 ms": timedelta(milliseconds=(1 << 31) - 1),
    "2**31 ms": timedelta(milliseconds=1 << 31),
    "2**32 + 1 ms": timedelta(milliseconds=(1 << 32) + 1),
    "30 days": timedelta(days=30),
    "30 days and a second": timedelta(days=30, seconds=1),
    "a year": timedelta(days=365, milliseconds=500),
    "2**31 seconds": timedelta(seconds=1 << 31),
    "100 years": MAX_TTL,
}
"""Ttls at which a backend may change the unit, or run over an integer."""

_CLOCKS_DIFFER_MS = timedelta(hours=1) // timedelta(milliseconds=1)
"""The backend's clock may be this wrong and still count from the Unix epoch."""


async def _by_expire(kv: FullKeyValue, key: str, ttl: timedelta) -> None:
    await kv.set(key, b"1")
    assert await kv.expire(key, ttl) is True


async def _by_shorter_expire(kv: FullKeyValue, key: str, ttl: timedelta) -> None:
    await kv.set(key, b"1", ttl=MAX_TTL)
    assert await kv.expire(key, ttl) is True


async def _by_set_if_version(kv: FullKeyValue, key: str, ttl: timedelta) -> None:
    version = await kv.set(key, b"0")
    await kv.compare_and_set(key, b"1", expected=version, ttl=ttl)


async def _by_set_many(kv: FullKeyValue, key: str, ttl: timedelta) -> None:
    await only_item(kv.set_many([Put(key, b"1", ttl)]))


async def _by_increment(kv: FullKeyValue, key: str, ttl: timedelta) -> None:
    while True:
        await kv.set(key, b"1", ttl=ttl)
        if (await kv.increment(key)).value == 2:
            return
        # The machine was so busy that the key had expired.
        await kv.delete(key)


TTL_WRITES: dict[str, tuple[Capability, TtlWrite]] = {
    "set": (Capability.TTL, lambda kv, key, ttl: kv.set(key, b"1", ttl=ttl)),
    "expire": (Capability.TTL, _by_expire),
    "shorter expire": (Capability.TTL, _by_shorter_expire),
    "set if absent": (
        Capability.COMPARE_AND_SET,
        lambda kv, key, ttl: kv.compare_and_set(key, b"1", expected=None, ttl=ttl),
    ),
    "set if version": (Capability.COMPARE_AND_SET, _by_set_if_version),
    "set_many": (Capability.BATCH, _by_set_many),
    "apply": (
        Capability.TRANSACTIONS,
        lambda kv, key, ttl: kv.apply([], [Put(key, b"1", ttl)]),
    ),
    "increment": (Capability.COUNTER, _by_increment),
}
"""Every write that gives or keeps a ttl, with the capability that it needs besides."""


_each_write = pytest.mark.parametrize("write", TTL_WRITES, indirect=True)
_each_ttl_argument = pytest.mark.parametrize(
    "write", [name for name in TTL_WRITES if name != "increment"], indirect=True
)


def ttl_writes_of(profile: Profile) -> dict[str, TtlWrite]:
    """Return the writes of a ttl that a backend with this profile has."""
    return {
        name: write
        for name, (capability, write) in TTL_WRITES.items()
        if capability in profile.capabilities
    }


@group(Capability.TTL)
class TtlWrites(Group):
    """A ttl is as exact from every write, and no read changes it."""

    @pytest.fixture
    def write(self, request: pytest.FixtureRequest, backend: Backend) -> TtlWrite:
        """One of `TTL_WRITES`, by the name that is the parameter of the test."""
        capability, write = TTL_WRITES[request.param]
        skip_unless_declared(backend, capability)
        return write

    @_each_write
    async def test_a_ttl_from_every_write_is_exact(
        self, kv: FullKeyValue, key: str, clock: Clock, write: TtlWrite
    ) -> None:
        await check_expiry(
            kv, key, clock, clock.short, _by_get, write=lambda ttl: write(kv, key, ttl)
        )

    @_each_write
    async def test_a_ttl_of_every_size_is_kept_by_every_write(
        self, kv: FullKeyValue, prefix: str, clock: Clock, write: TtlWrite
    ) -> None:
        async def check(name: str, ttl: timedelta) -> str | None:
            key = f"{prefix}{name}"
            asked = time.monotonic()
            await write(kv, key, ttl)
            lifetime, entry = await kv.ttl(key), await kv.get(key)
            elapsed = timedelta(seconds=time.monotonic() - asked)
            await kv.delete(key)
            if lifetime is None and elapsed > ttl - clock.error:
                return None
            if lifetime is None or lifetime.remaining is None or entry is None:
                return f"{name}: expected about {ttl}, got {lifetime} and {entry}"
            latest = timedelta(seconds=clock.latest_expiry(ttl))
            earliest = ttl - elapsed - clock.error - ROUNDING
            if not earliest <= lifetime.remaining <= latest:
                return f"{name}: {lifetime.remaining} is not from {earliest} to {latest}"
            now_ms = time.time() * 1000
            expected_ms = now_ms + ttl / timedelta(milliseconds=1)
            if abs((entry.expires_at_ms or 0) - expected_ms) > _CLOCKS_DIFFER_MS:
                return f"{name}: expires at {entry.expires_at_ms} ms, expected {expected_ms:.0f}"
            return None

        wrong = await asyncio.gather(*(check(name, ttl) for name, ttl in SIZES.items()))
        assert [each for each in wrong if each] == []

    @_each_ttl_argument
    @pytest.mark.parametrize("microseconds", [1, 999, 1_001])
    async def test_a_tiny_ttl_from_every_write_expires(
        self, kv: FullKeyValue, key: str, clock: Clock, write: TtlWrite, microseconds: int
    ) -> None:
        ttl = timedelta(microseconds=microseconds)
        await write(kv, key, ttl)
        assert await kv.ttl(key) != Lifetime(None)
        await clock.wait_for_expiry(kv, key, ttl)

    async def test_ttl_counts_down(self, kv: FullKeyValue, key: str, clock: Clock) -> None:
        await kv.set(key, b"value", ttl=LONG)
        first = await kv.ttl(key)
        since = time.monotonic()
        pause = max(timedelta(milliseconds=100), 4 * (clock.granularity + clock.error))
        await asyncio.sleep(pause.total_seconds())
        passed = timedelta(seconds=time.monotonic() - since)
        second = await kv.ttl(key)
        assert first is not None
        assert second is not None
        assert first.remaining is not None
        assert second.remaining is not None
        slack = clock.granularity + 2 * clock.error + ROUNDING
        assert first.remaining - second.remaining >= passed - slack

    async def test_expiry_times_count_from_the_unix_epoch_in_every_read(
        self, backend: Backend, prefix: str, clock: Clock
    ) -> None:
        kv = backend.kv
        key, lasting = f"{prefix}expires", f"{prefix}lasts"
        before_ms = time.time() * 1000
        await kv.set(key, b"value", ttl=LONG)
        await kv.set(lasting, b"value")
        times = {}
        for name, (expires_at_ms, other) in (await _expiries_in(backend, (key, lasting))).items():
            assert expires_at_ms is not None, name
            assert other is None, name
            times[name] = expires_at_ms
        expected_ms = before_ms + LONG / timedelta(milliseconds=1)
        assert abs(times["get"] - expected_ms) < _CLOCKS_DIFFER_MS
        apart = (clock.error + ROUNDING) / timedelta(milliseconds=1)
        assert max(times.values()) - min(times.values()) <= apart, times

    async def test_every_read_shows_a_change_of_the_ttl(
        self, backend: Backend, prefix: str
    ) -> None:
        kv = backend.kv
        given, prolonged, removed = keys = [f"{prefix}{number}" for number in range(3)]
        await kv.set(given, b"value")
        for key in (prolonged, removed):
            await kv.set(key, b"value", ttl=LONG)
        # What a backend remembers of these reads is no longer true afterwards.
        await _expiries_in(backend, keys)
        await kv.expire(given, LONG)
        await kv.expire(prolonged, 2 * LONG)
        await kv.persist(removed)
        for name, (first, second, third) in (await _expiries_in(backend, keys)).items():
            assert first is not None, name
            assert second is not None, name
            assert abs(second - first - LONG / timedelta(milliseconds=1)) < 60_000, name
            assert third is None, name

    async def test_no_read_prolongs_a_ttl(
        self, backend: Backend, prefix: str, clock: Clock
    ) -> None:
        kv, capabilities = backend.kv, backend.profile.capabilities

        async def by_get_many(kv: FullKeyValue, key: str) -> bool:
            return await kv.get_many([key]) != [None]

        async def by_scan(kv: FullKeyValue, key: str) -> bool:
            return bool((await kv.scan(key, values=True)).keys)

        async def by_increment(kv: FullKeyValue, key: str) -> bool:
            return (await kv.increment(key)).value != 1

        reads: dict[str, Exists] = {"get": _by_get, "exists": _by_exists, "ttl": _by_ttl}
        if Capability.BATCH in capabilities:
            reads["get_many"] = by_get_many
        if Capability.SCAN in capabilities:
            reads["scan"] = by_scan
        if Capability.COUNTER in capabilities:
            # Not a read, but it keeps the ttl too.
            reads["increment"] = by_increment
        await asyncio.gather(
            *(
                check_expiry(kv, f"{prefix}{name}", clock, 2 * clock.short, exists)
                for name, exists in reads.items()
            )
        )

    @needs(Capability.BATCH)
    async def test_delete_many_removes_the_ttl(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(3)]
        await asyncio.gather(*(kv.set(key, b"value", ttl=clock.short) for key in keys))
        await kv.delete_many(keys)
        for key in keys:
            await kv.set(key, b"new")
        assert [await kv.ttl(key) for key in keys] == [Lifetime(None)] * 3
        await clock.outlive(kv)
        assert [await kv.exists(key) for key in keys] == [True] * 3


async def _expiries_in(backend: Backend, keys: Sequence[str]) -> dict[str, list[int | None]]:
    """Return when these keys expire, according to each read that shows it."""
    times: dict[str, list[int | None]] = {}
    for name, read in reads_of(backend.profile).items():
        entries = [await read(backend.kv, key) for key in keys]
        assert None not in entries, name
        times[name] = [entry.expires_at_ms for entry in entries if entry is not None]
    return times


async def _by_get(kv: FullKeyValue, key: str) -> bool:
    return await kv.get(key) is not None


async def _by_exists(kv: FullKeyValue, key: str) -> bool:
    return await kv.exists(key)


async def _by_ttl(kv: FullKeyValue, key: str) -> bool:
    return await kv.ttl(key) is not None


EXISTENCE = {"get": _by_get, "exists": _by_exists, "ttl": _by_ttl}
"""Reads that tell whether a key exists."""


async def check_expiry(
    kv: FullKeyValue,
    key: str,
    clock: Clock,
    ttl: timedelta,
    exists: Exists,
    *,
    write: Callable[[timedelta], Awaitable[object]] | None = None,
) -> None:
    """Write a key, read it until it is absent, and check the time of its expiry."""
    asked_for = time.monotonic()
    if write is None:
        await kv.set(key, b"1", ttl=ttl)
    else:
        await write(ttl)
    granted = time.monotonic()
    while True:
        asked = time.monotonic()
        alive = await exists(kv, key)
        answered = time.monotonic()
        if not alive:
            early = asked_for + clock.earliest_expiry(ttl) - answered
            assert early <= 0, f"the key was lost {early:.3f} s before its expiry"
            return
        late = asked - granted - clock.latest_expiry(ttl)
        assert late <= 0, f"the key was returned {late:.3f} s after its expiry"
        await asyncio.sleep(0.005)
