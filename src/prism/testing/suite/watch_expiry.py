"""Group watch: expire events come for every ttl, once, in time, and for no other reason."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from prism.ports import Capability, Change, Event, FullKeyValue, Put
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import UNSUPPORTED, group, needs
from prism.testing.suite.timing import LONG, Clock, scaled
from prism.testing.suite.ttl_writes import ttl_writes_of
from prism.testing.suite.watch_recorder import (
    SOON,
    DeclaredEvents,
    WatchGroup,
    WatchRecorder,
    watching,
)

_ATTEMPTS = 3
"""A late event is an error of the backend only if a repetition is late too."""

_LATE = timedelta(seconds=2)
"""Allowance for a busy machine."""


@group(Capability.WATCH)
class WatchExpiries(WatchGroup):
    """Each key that expires is reported once, within the declared delay, and no other key is."""

    @needs(Capability.TTL)
    async def test_a_key_that_no_longer_expires_is_not_reported_expired(
        self, backend: Backend, prefix: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        kv, capabilities = backend.kv, backend.profile.capabilities

        async def by_delete_and_set(key: str) -> None:
            await kv.delete(key)
            await kv.set(key, b"new")

        async def by_delete_and_long_ttl(key: str) -> None:
            await kv.delete(key)
            await kv.set(key, b"new", ttl=LONG)

        async def by_set_many(key: str) -> None:
            await kv.set_many([Put(key, b"new")])

        async def by_compare_and_set(key: str) -> None:
            if entry := await kv.get(key):
                await kv.compare_and_set(key, b"new", expected=entry.version)

        saves = {
            "persist": kv.persist,
            "expire": lambda key: kv.expire(key, LONG),
            "set": lambda key: kv.set(key, b"new"),
            "longer set": lambda key: kv.set(key, b"new", ttl=LONG),
            "delete": kv.delete,
            "delete and set": by_delete_and_set,
            "delete and longer set": by_delete_and_long_ttl,
        }
        if Capability.BATCH in capabilities:
            saves["set_many"] = by_set_many
        if Capability.COMPARE_AND_SET in capabilities:
            saves["compare_and_set"] = by_compare_and_set

        async def save(name: str) -> bool:
            """Return whether the key was changed before it could expire."""
            key, asked = f"{prefix}{name}", time.monotonic()
            await kv.set(key, b"old", ttl=ttl)
            await saves[name](key)
            return time.monotonic() - asked < clock.earliest_expiry(ttl)

        ttl = 2 * clock.short
        async with watching(kv, prefix) as recorder:
            in_time = dict(
                zip(saves, await asyncio.gather(*(save(name) for name in saves)), strict=True)
            )
            await _wait_for_an_expiry(kv, recorder, f"{prefix}sentinel", declared, clock, ttl)
            expired = {event.key for event in recorder.events if event.change is Change.EXPIRE}
            stale = [name for name in saves if in_time[name] and f"{prefix}{name}" in expired]
            assert stale == []

    @needs(Capability.TTL)
    async def test_an_expiry_is_reported_once(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(10)]
        async with watching(kv, prefix) as recorder:
            await asyncio.gather(*(kv.set(key, b"value", ttl=clock.short) for key in keys))
            await clock.outlive(kv)
            for key in keys[::2]:
                # Neither a read nor a delete of an expired key is a second event.
                await kv.get(key)
                await kv.delete(key)
            if declared.expiry_delay is not None:
                # Expiries of several keys may be reported in any order.
                expected = {Event(Change.EXPIRE, key) for key in keys}
                await recorder.wait_until(
                    lambda events: expected <= set(events),
                    "the expiry of every key",
                    declared.expiry_delay + SOON,
                )
            await _wait_for_an_expiry(kv, recorder, f"{prefix}sentinel", declared, clock)
            allowed = [[Change.PUT, Change.EXPIRE]]
            if declared.expiry_delay is None:
                allowed.append([Change.PUT])
            for key in keys:
                assert [event.change for event in recorder.events_of(key)] in allowed, key

    @needs(Capability.TTL)
    async def test_no_expiry_is_reported_after_the_next_put(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(10)]
        async with watching(kv, prefix) as recorder:
            await asyncio.gather(*(kv.set(key, b"old", ttl=clock.short) for key in keys))
            await clock.outlive(kv)
            await asyncio.gather(*(kv.set(key, b"new") for key in keys))
            await _wait_for_an_expiry(kv, recorder, f"{prefix}sentinel", declared, clock)
            put, expire = Change.PUT, Change.EXPIRE
            for key in keys:
                changes = [event.change for event in recorder.events_of(key)]
                assert changes in ([put, put], [put, expire, put]), key

    @needs(Capability.TTL)
    async def test_the_expiry_of_every_ttl_write_is_reported_in_time(
        self, backend: Backend, prefix: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        if declared.expiry_delay is None:
            pytest.skip(f"{UNSUPPORTED}{backend.profile.driver} states no bound on expire events")
        late: dict[str, float] = {}
        for attempt in range(_ATTEMPTS):
            late = await _late_expiries(backend, f"{prefix}{attempt}/", declared, clock)
            if not late:
                return
        raise AssertionError(f"expire events later than declared, by seconds: {late}")


async def _late_expiries(
    backend: Backend, prefix: str, declared: DeclaredEvents, clock: Clock
) -> dict[str, float]:
    """Let a key of every write expire; return how late events were, fail for an early one."""
    kv, writes = backend.kv, ttl_writes_of(backend.profile)
    asked: dict[str, float] = {}
    granted: dict[str, float] = {}

    async def write(name: str) -> None:
        asked[name] = time.monotonic()
        await writes[name](kv, f"{prefix}{name}", clock.short)
        granted[name] = time.monotonic()

    assert declared.expiry_delay is not None
    delay = declared.expiry_delay.total_seconds()
    expected = {Event(Change.EXPIRE, f"{prefix}{name}") for name in writes}
    async with watching(kv, prefix) as recorder:
        await asyncio.gather(*(write(name) for name in writes))
        await recorder.wait_until(
            lambda events: expected <= set(events),
            f"expiries of {sorted(writes)}",
            declared.expiry_delay + 2 * SOON,
        )
        late = {}
        for event, arrived in zip(recorder.events, recorder.times, strict=True):
            if event.change is not Change.EXPIRE:
                continue
            name = event.key.removeprefix(prefix)
            early = asked[name] + clock.earliest_expiry(clock.short) - arrived
            assert early <= 0, f"{name}: reported {early:.3f} s before the expiry"
            latest = granted[name] + clock.latest_expiry(clock.short) + delay
            if arrived > latest + scaled(_LATE.total_seconds()):
                late[name] = arrived - latest
        return late


async def _wait_for_an_expiry(
    kv: FullKeyValue,
    recorder: WatchRecorder,
    key: str,
    declared: DeclaredEvents,
    clock: Clock,
    ttl: timedelta | None = None,
) -> None:
    """Wait until a watched key that is written now expires, and any earlier expiry is reported.

    Args:
        key: absent key that the recorder watches.
        ttl: ttl of that key; the shortest by default.
    """
    await kv.set(key, b"", ttl=ttl or clock.short)
    if declared.expiry_delay is None:
        await clock.outlive(kv, ttl)
        last = await kv.set(key, b"last")
        what, expected = "the last put", declared.put(key, b"last", last)
    else:
        what, expected = "the last expiry", Event(Change.EXPIRE, key)
    within = (declared.expiry_delay or timedelta()) + SOON
    await recorder.wait_until(lambda events: expected in events, what, within)
