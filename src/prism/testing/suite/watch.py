"""Group watch: which changes are reported, and for which prefixes."""

from __future__ import annotations

import pytest

from prism.ports import (
    Capability,
    Change,
    Event,
    FullKeyValue,
    InvalidArgument,
    Put,
    Unsupported,
    VersionConflict,
)
from prism.testing.suite.backend import Backend
from prism.testing.suite.every_operation import EVERY_DELETE, delete_of
from prism.testing.suite.group import group, needs, runs_without_capability
from prism.testing.suite.keys_and_values import AWKWARD_KEYS
from prism.testing.suite.scan import PATTERNS
from prism.testing.suite.timing import LONG, Clock
from prism.testing.suite.watch_delivery import WatchDelivery
from prism.testing.suite.watch_expiry import WatchExpiries
from prism.testing.suite.watch_recorder import (
    SOON,
    DeclaredEvents,
    WatchRecorder,
    watching,
)

BAD_PREFIXES = {
    "1025 bytes": "k" * 1025,
    "lone surrogate": "a\ud83d",
}


@group(Capability.WATCH)
class Watches(WatchDelivery, WatchExpiries):
    """put, delete and expire events, and nothing else."""

    @runs_without_capability
    async def test_watch_is_refused_unless_declared(self, backend: Backend, key: str) -> None:
        if Capability.WATCH in backend.profile.capabilities:
            async with watching(backend.kv, key) as recorder:
                await backend.kv.set(key, b"value")
                await recorder.wait_until(bool, "the put is reported")
            return
        with pytest.raises(Unsupported):
            async with backend.kv.watch(key):
                pass

    async def test_a_put_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"value")
            await recorder.expect(declared.put(key, b"value", version))

    async def test_an_overwrite_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            puts = [
                declared.put(key, value, await kv.set(key, value)) for value in (b"1", b"2", b"3")
            ]
            await recorder.expect(*puts)

    async def test_a_put_of_the_same_value_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            puts = [declared.put(key, b"same", await kv.set(key, b"same")) for _ in range(3)]
            await recorder.expect(*puts)

    async def test_an_empty_value_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"")
            await recorder.expect(declared.put(key, b"", version))

    @pytest.mark.parametrize("value", [bytes(range(256)), "é🔑".encode(), b"\r\n\x00"], ids=repr)
    async def test_values_are_reported_byte_for_byte(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents, value: bytes
    ) -> None:
        async with watching(kv, key) as recorder:
            version = await kv.set(key, value)
            await recorder.expect(declared.put(key, value, version))

    async def test_the_largest_value_is_reported(
        self, backend: Backend, key: str, declared: DeclaredEvents
    ) -> None:
        value = bytes(range(256)) * (backend.profile.limits.max_value_bytes // 256)
        async with watching(backend.kv, key) as recorder:
            version = await backend.kv.set(key, value)
            await recorder.wait_until(bool, "the put is reported")
            # Compared as a boolean: pytest would print both values in full.
            (event,) = recorder.events
            assert (event.change, event.key) == (Change.PUT, key)
            assert (event == declared.put(key, value, version)) is True

    async def test_a_delete_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"value")
            assert await kv.delete(key) is True
            await recorder.expect(declared.put(key, b"value", version), Event(Change.DELETE, key))

    @EVERY_DELETE
    async def test_every_kind_of_delete_is_reported(
        self, backend: Backend, key: str, declared: DeclaredEvents, name: str
    ) -> None:
        kv, delete = backend.kv, delete_of(backend, name)
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"value")
            await delete(kv, key)
            await recorder.expect(declared.put(key, b"value", version), Event(Change.DELETE, key))

    async def test_a_delete_of_an_absent_key_is_not_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            assert await kv.delete(key) is False
            version = await kv.set(key, b"value")
            assert await kv.delete(key) is True
            assert await kv.delete(key) is False
            again = await kv.set(key, b"again")
            await recorder.expect(
                declared.put(key, b"value", version),
                Event(Change.DELETE, key),
                declared.put(key, b"again", again),
            )

    async def test_a_refused_write_is_not_reported(
        self, backend: Backend, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(backend.kv, key) as recorder:
            with pytest.raises(InvalidArgument):
                await backend.kv.set(key, bytes(backend.profile.limits.max_value_bytes + 1))
            version = await backend.kv.set(key, b"value")
            await recorder.expect(declared.put(key, b"value", version))

    @needs(Capability.COMPARE_AND_SET)
    async def test_a_compare_and_set_is_reported_unless_it_conflicts(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            first = await kv.compare_and_set(key, b"1", expected=None)
            with pytest.raises(VersionConflict):
                await kv.compare_and_set(key, b"lost", expected=None)
            second = await kv.compare_and_set(key, b"2", expected=first)
            for expected in (first, None):
                with pytest.raises(VersionConflict):
                    await kv.compare_and_set(key, b"lost", expected=expected)
            with pytest.raises(VersionConflict):
                await kv.compare_and_delete(key, expected=first)
            await kv.compare_and_delete(key, expected=second)
            third = await kv.set(key, b"3")
            await recorder.expect(
                declared.put(key, b"1", first),
                declared.put(key, b"2", second),
                Event(Change.DELETE, key),
                declared.put(key, b"3", third),
            )

    @needs(Capability.COUNTER)
    async def test_an_increment_is_reported_as_a_put(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            counts = [await kv.increment(key, delta) for delta in (5, 0, -7, 0)]
            await recorder.expect(
                *(declared.put(key, b"%d" % count.value, count.version) for count in counts)
            )

    @needs(Capability.BATCH)
    async def test_each_item_of_a_batch_is_reported(
        self, kv: FullKeyValue, prefix: str, declared: DeclaredEvents
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(30)]
        async with watching(kv, prefix) as recorder:
            versions = await kv.set_many([Put(key, key.encode()) for key in keys])
            assert await kv.delete_many([*keys, f"{prefix}absent"]) == [*[True] * 30, False]
            last = await kv.set(f"{prefix}absent", b"last")
            await recorder.wait_for_count(61)
            for key, version in zip(keys, versions, strict=True):
                assert isinstance(version, int)
                put = declared.put(key, key.encode(), version)
                assert recorder.events_of(key) == [put, Event(Change.DELETE, key)]
            assert recorder.events_of(f"{prefix}absent") == [
                declared.put(f"{prefix}absent", b"last", last)
            ]

    @needs(Capability.BATCH)
    async def test_the_last_items_of_a_batch_are_reported(
        self, backend: Backend, prefix: str
    ) -> None:
        count = min(300, backend.profile.limits.max_batch_items)
        keys = [f"{prefix}{number}" for number in range(count)]
        async with watching(backend.kv, prefix) as recorder:
            await backend.kv.set_many([Put(key, b"value") for key in keys])
            # No later event may be needed to deliver them.
            await recorder.wait_for_count(count)
            await backend.kv.delete_many(keys)
            await recorder.wait_for_count(2 * count)
            assert {event.key for event in recorder.events[count:]} == set(keys)

    @needs(Capability.BATCH)
    async def test_a_key_set_twice_in_a_batch_is_reported_twice(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        values = [b"1", b"2", b"2", b"1"]
        async with watching(kv, key) as recorder:
            versions = await kv.set_many([Put(key, value) for value in values])
            expected = []
            for value, version in zip(values, versions, strict=True):
                assert isinstance(version, int)
                expected.append(declared.put(key, value, version))
            await recorder.expect(*expected)

    @needs(Capability.TTL)
    async def test_an_expiry_is_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        async with watching(kv, key) as recorder:
            version = await kv.set(key, b"value", ttl=clock.short)
            put = declared.put(key, b"value", version)
            await clock.wait_for_expiry(kv, key)
            if declared.expiry_delay is not None:
                what = "the expiry is reported"
                await recorder.wait_until(
                    lambda events: len(events) > 1, what, declared.expiry_delay + SOON
                )
                assert recorder.events == [put, Event(Change.EXPIRE, key)]
            else:
                await recorder.wait_until(bool, "the put is reported")
                assert recorder.events in ([put], [put, Event(Change.EXPIRE, key)])

    @needs(Capability.TTL)
    async def test_expire_and_persist_are_not_reported(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents
    ) -> None:
        async with watching(kv, key) as recorder:
            first = await kv.set(key, b"1", ttl=LONG)
            await kv.expire(key, LONG * 2)
            await kv.persist(key)
            await kv.persist(key)
            await kv.expire(key, LONG)
            second = await kv.set(key, b"2")
            await recorder.expect(declared.put(key, b"1", first), declared.put(key, b"2", second))

    @needs(Capability.TTL)
    async def test_a_key_overwritten_before_its_expiry_has_no_expire_event(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        later = f"{key}/later"
        async with watching(kv, key) as recorder:
            first = await kv.set(key, b"1", ttl=clock.short)
            second = await kv.set(key, b"2")
            await kv.set(later, b"", ttl=clock.short)
            await clock.wait_for_expiry(kv, later)
            if declared.expiry_delay is not None:
                # An event for the first ttl would have arrived before this one.
                expired = Event(Change.EXPIRE, later)
                what = "the later expiry is reported"
                await recorder.wait_until(
                    lambda events: expired in events, what, declared.expiry_delay + SOON
                )
            third = await kv.set(key, b"3")
            await recorder.wait_until(lambda _: len(recorder.events_of(key)) >= 3, "3 puts")
            assert recorder.events_of(key) == [
                declared.put(key, b"1", first),
                declared.put(key, b"2", second),
                declared.put(key, b"3", third),
            ]

    @needs(Capability.TTL)
    async def test_a_put_after_an_expiry_is_reported_after_the_expiry(
        self, kv: FullKeyValue, key: str, declared: DeclaredEvents, clock: Clock
    ) -> None:
        async with watching(kv, key) as recorder:
            first = await kv.set(key, b"1", ttl=clock.short)
            await clock.wait_for_expiry(kv, key)
            second = await kv.set(key, b"2")
            end = await kv.set(key, b"end")
            puts = [
                declared.put(key, b"1", first),
                declared.put(key, b"2", second),
                declared.put(key, b"end", end),
            ]
            await recorder.wait_until(
                lambda events: sum(event.change is Change.PUT for event in events) == 3, "3 puts"
            )
            expired = Event(Change.EXPIRE, key)
            assert recorder.events in (puts, [puts[0], expired, *puts[1:]])

    # Prefixes: every key that starts with the prefix, and no other

    async def test_a_watch_reports_no_key_outside_its_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        watched = f"{prefix}user/"
        inside = [watched, f"{watched}1", f"{watched}{prefix}", f"{watched}/"]
        outside = [f"{prefix}user", f"{prefix}users/1", f"{prefix}User/", f"x{watched}", prefix]
        await _reports_only(kv, watched, inside, outside)

    @pytest.mark.parametrize(("pattern", "match"), PATTERNS.values(), ids=PATTERNS.keys())
    async def test_a_watched_prefix_is_literal_text(
        self, kv: FullKeyValue, prefix: str, pattern: str, match: str
    ) -> None:
        watched = prefix + pattern
        inside = [watched, f"{watched}x"]
        outside = [
            key for key in (prefix + match, f"{prefix}{match}x") if not key.startswith(watched)
        ]
        await _reports_only(kv, watched, inside, outside)

    @pytest.mark.parametrize("text", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS.keys())
    async def test_every_character_is_allowed_in_a_watched_prefix(
        self, kv: FullKeyValue, prefix: str, text: str
    ) -> None:
        watched = prefix + text
        await _reports_only(kv, watched, [watched, watched + text], [f"{prefix}outside"])

    async def test_prefixes_that_share_bytes_are_distinguished(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        # U+00E9 and U+00E8 differ in their second byte only.
        inside = [f"{prefix}é", f"{prefix}éé", f"{prefix}éè"]
        await _reports_only(kv, f"{prefix}é", inside, [f"{prefix}è", f"{prefix}èé", f"{prefix}e"])

    async def test_an_empty_prefix_watches_every_key(self, kv: FullKeyValue, prefix: str) -> None:
        # The store may have other users, so other events are ignored.
        keys = {prefix, f"{prefix}1", f"🔑{prefix}"}
        async with watching(kv, "") as recorder:
            for key in keys:
                await kv.set(key, b"value")
            await recorder.wait_until(lambda _: keys <= _keys_put(recorder), f"the puts of {keys}")

    async def test_a_prefix_of_1024_bytes_can_be_watched(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        key = prefix + "é" * ((1024 - len(prefix)) // 2)
        key += "k" * (1024 - len(key.encode()))
        await _reports_only(kv, key, [key], [key[:-1]])

    @pytest.mark.parametrize("bad", BAD_PREFIXES.values(), ids=BAD_PREFIXES.keys())
    async def test_a_bad_prefix_is_refused(self, kv: FullKeyValue, bad: str) -> None:
        with pytest.raises(InvalidArgument):
            async with kv.watch(bad):
                pass

    async def test_each_watch_reports_the_events_of_its_own_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        async with (
            watching(kv, f"{prefix}a/") as one,
            watching(kv, f"{prefix}b/") as other,
            watching(kv, f"{prefix}a/1") as inner,
            watching(kv, prefix) as outer,
        ):
            keys = [f"{prefix}{name}" for name in ("a/1", "b/1", "a/2", "b/2", "a/11", "c")]
            for key in keys:
                await kv.set(key, b"value")
            for recorder, watched in ((one, "a/"), (other, "b/"), (inner, "a/1"), (outer, "")):
                expected = [key for key in keys if key.startswith(prefix + watched)]
                await recorder.wait_for_count(len(expected))
                assert sorted(event.key for event in recorder.events) == sorted(expected)


def _keys_put(recorder: WatchRecorder) -> set[str]:
    return {event.key for event in recorder.events if event.change is Change.PUT}


async def _reports_only(
    kv: FullKeyValue, watched: str, inside: list[str], outside: list[str]
) -> None:
    """Write keys outside the prefix, then keys inside; expect the events of the latter only."""
    async with watching(kv, watched) as recorder:
        for key in (*outside, *inside):
            await kv.set(key, b"value")
        for key in outside:
            await kv.delete(key)
        await kv.delete(inside[-1])
        await recorder.wait_until(lambda events: len(events) > len(inside), f"events of {inside}")
        seen = [(event.change, event.key) for event in recorder.events]
        expected = [(Change.PUT, key) for key in inside] + [(Change.DELETE, inside[-1])]
        assert sorted(seen) == sorted(expected)
