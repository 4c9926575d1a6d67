"""Group Watch: a prefix is literal text."""

from __future__ import annotations

import pytest

from prism.ports import Capability, Change, FullKeyValue, InvalidArgument
from prism.testing.suite.group import group
from prism.testing.suite.keys import AWKWARD_KEYS
from prism.testing.suite.scans import PATTERNS
from prism.testing.suite.watch_recorder import WatchGroup, WatchRecorder, watching

BAD_PREFIXES = {
    "1025 bytes": "k" * 1025,
    "lone surrogate": "a\ud83d",
}


@group(Capability.WATCH)
class WatchPrefixes(WatchGroup):
    """Every key that begins with the prefix, and no other."""

    async def test_a_watch_reports_no_key_beside_its_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        watched = f"{prefix}user/"
        within = [watched, f"{watched}1", f"{watched}{prefix}", f"{watched}/"]
        beside = [f"{prefix}user", f"{prefix}users/1", f"{prefix}User/", f"x{watched}", prefix]
        await _only_within(kv, watched, within, beside)

    @pytest.mark.parametrize(("pattern", "match"), PATTERNS.values(), ids=PATTERNS.keys())
    async def test_a_watched_prefix_is_no_pattern(
        self, kv: FullKeyValue, prefix: str, pattern: str, match: str
    ) -> None:
        watched = prefix + pattern
        within = [watched, f"{watched}x"]
        beside = [
            key for key in (prefix + match, f"{prefix}{match}x") if not key.startswith(watched)
        ]
        await _only_within(kv, watched, within, beside)

    @pytest.mark.parametrize("text", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS.keys())
    async def test_every_character_is_allowed_in_a_watched_prefix(
        self, kv: FullKeyValue, prefix: str, text: str
    ) -> None:
        watched = prefix + text
        await _only_within(kv, watched, [watched, watched + text], [f"{prefix}beside"])

    async def test_characters_that_share_bytes_are_told_apart(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        # U+00E9 and U+00E8 differ in their second byte only.
        within = [f"{prefix}é", f"{prefix}éé", f"{prefix}éè"]
        await _only_within(kv, f"{prefix}é", within, [f"{prefix}è", f"{prefix}èé", f"{prefix}e"])

    async def test_an_empty_prefix_watches_every_key(self, kv: FullKeyValue, prefix: str) -> None:
        # Of a store that others may use as well.
        keys = {prefix, f"{prefix}1", f"🔑{prefix}"}
        async with watching(kv, "") as recorder:
            for key in keys:
                await kv.set(key, b"value")
            await recorder.wait_until(lambda _: keys <= _put(recorder), f"the puts of {keys}")

    async def test_a_prefix_of_1024_bytes_can_be_watched(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        key = prefix + "é" * ((1024 - len(prefix)) // 2)
        key += "k" * (1024 - len(key.encode()))
        await _only_within(kv, key, [key], [key[:-1]])

    @pytest.mark.parametrize("bad", BAD_PREFIXES.values(), ids=BAD_PREFIXES.keys())
    async def test_a_bad_prefix_is_not_watched(self, kv: FullKeyValue, bad: str) -> None:
        with pytest.raises(InvalidArgument):
            async with kv.watch(bad):
                pass

    async def test_watches_of_different_prefixes_have_their_own_events(
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


def _put(recorder: WatchRecorder) -> set[str]:
    return {event.key for event in recorder.events if event.change is Change.PUT}


async def _only_within(
    kv: FullKeyValue, watched: str, within: list[str], beside: list[str]
) -> None:
    """Put what lies beside the prefix before what lies within, and see only the latter."""
    async with watching(kv, watched) as recorder:
        for key in (*beside, *within):
            await kv.set(key, b"value")
        for key in beside:
            await kv.delete(key)
        await kv.delete(within[-1])
        await recorder.wait_until(lambda events: len(events) > len(within), f"events of {within}")
        seen = [(event.change, event.key) for event in recorder.events]
        expected = [(Change.PUT, key) for key in within] + [(Change.DELETE, within[-1])]
        assert sorted(seen) == sorted(expected)
