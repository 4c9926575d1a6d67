"""Group Scan: `Capability.SCAN`."""

from __future__ import annotations

import pytest

from prism.ports import Capability, Entry, FullKeyValue, InvalidArgument, Unsupported
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import group, needs, runs_without_capability
from prism.testing.suite.pages import Pages, keys_under, pages_under, put_all
from prism.testing.suite.timing import Clock

PATTERNS = {
    "star": ("a*", "ab"),
    "star at the start": ("*a", "ba"),
    "question mark": ("a?", "ab"),
    "class": ("a[bc]", "ab"),
    "negated class": ("a[^b]", "ac"),
    "backslash": ("a\\*", "a*"),
    "lone bracket": ("a[", "ab"),
    "dot": ("a.", "ab"),
    "subject wildcard": ("a.*.", "a.b."),
    "subject tail": ("a.>", "a.b"),
    "percent": ("a%", "ab"),
    "underscore": ("a_", "ab"),
    "regular expression": ("a|b", "a"),
    "caret": ("^a", "a"),
    "case": ("A", "a"),
    "quote": ("a'", "a"),
    "nul": ("a\x00", "a"),
    "newline": ("a\n", "a"),
    "same lead byte": ("é", "è"),
    "same lead bytes": ("🔑", "🔒"),
    "composed": ("é", "e\u0301"),
}


@group(Capability.SCAN)
class Scans(Pages):
    """Which keys a scan returns; `Pages` has how it goes about it."""

    @runs_without_capability
    async def test_scan_is_refused_unless_declared(self, backend: Backend, key: str) -> None:
        await backend.kv.set(key, b"value")
        if Capability.SCAN in backend.profile.capabilities:
            assert key in await keys_under(backend.kv, key)
            return
        with pytest.raises(Unsupported):
            await backend.kv.scan(key)

    async def test_scan_returns_every_key_under_the_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        expected = await put_all(kv, prefix, 25)
        assert await keys_under(kv, prefix) == expected

    async def test_scan_returns_no_key_beside_the_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        inside = {f"{prefix}b", f"{prefix}b/1", f"{prefix}ba", f"{prefix}b\x00"}
        outside = {prefix, f"{prefix}a", f"{prefix}c", f"{prefix}B", f"{prefix}ab", f"x{prefix}b"}
        for key in inside | outside:
            await kv.set(key, b"value")
        assert await keys_under(kv, f"{prefix}b") == inside

    async def test_a_key_equal_to_the_prefix_is_under_it(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await keys_under(kv, key) == {key}

    async def test_scan_of_a_prefix_without_keys_is_empty(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        assert await keys_under(kv, prefix) == set()

    async def test_the_empty_prefix_includes_every_key(self, kv: FullKeyValue, prefix: str) -> None:
        expected = await put_all(kv, prefix, 10)
        seen = {key async for page in pages_under(kv, "", page_size=500) for key in page.keys}
        assert expected <= seen

    @pytest.mark.parametrize("pair", PATTERNS.values(), ids=PATTERNS.keys())
    async def test_a_prefix_is_literal_text(
        self, kv: FullKeyValue, prefix: str, pair: tuple[str, str]
    ) -> None:
        literal, lookalike = pair
        expected = {prefix + literal, f"{prefix}{literal}1"}
        for key in (*expected, prefix + lookalike, f"{prefix}{lookalike}1"):
            await kv.set(key, b"value")
        found = await keys_under(kv, prefix + literal)
        assert found == {key for key in expected | found if key.startswith(prefix + literal)}

    async def test_a_prefix_of_1024_bytes(self, kv: FullKeyValue, prefix: str) -> None:
        key = prefix.ljust(1024, "*")
        await kv.set(key, b"value")
        assert await keys_under(kv, key) == {key}

    async def test_a_prefix_that_is_no_text_is_refused(self, kv: FullKeyValue) -> None:
        with pytest.raises(InvalidArgument):
            await kv.scan("a\ud800")

    async def test_deleted_keys_are_not_returned(self, kv: FullKeyValue, prefix: str) -> None:
        keys = sorted(await put_all(kv, prefix, 10))
        for key in keys[::2]:
            await kv.delete(key)
        assert await keys_under(kv, prefix) == set(keys[1::2])

    @needs(Capability.TTL)
    async def test_expired_keys_are_not_returned(
        self, kv: FullKeyValue, prefix: str, clock: Clock
    ) -> None:
        expected = await put_all(kv, f"{prefix}stays/", 3)
        await kv.set(f"{prefix}goes", b"value", ttl=clock.short)
        assert f"{prefix}goes" in await keys_under(kv, prefix)
        await clock.wait_for_expiry(kv, f"{prefix}goes")
        assert await keys_under(kv, prefix) == expected

    async def test_awkward_keys_come_back_as_they_were(self, kv: FullKeyValue, prefix: str) -> None:
        names = [" ", "\x00", "\n", "*", ">", "a.b..c", "/", "\\", "🔑", "e\u0301", "é", "\uffff"]
        expected = {prefix + name for name in names}
        for key in expected:
            await kv.set(key, key.encode())
        assert await keys_under(kv, prefix) == expected

    async def test_entries_are_left_out_unless_asked_for(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        await put_all(kv, prefix, 3)
        async for page in pages_under(kv, prefix):
            assert page.entries is None

    async def test_entries_are_what_get_shows(self, kv: FullKeyValue, prefix: str) -> None:
        expected: dict[str, Entry | None] = {}
        for key in await put_all(kv, prefix, 12):
            expected[key] = await kv.get(key)
        found: dict[str, Entry] = {}
        async for page in pages_under(kv, prefix, page_size=5, values=True):
            assert page.entries is not None
            found.update(zip(page.keys, page.entries, strict=True))
        assert found == expected

    async def test_an_empty_value_is_scanned_as_one(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"")
        found = [page async for page in pages_under(kv, key, values=True) if page.keys]
        assert [entry.value for page in found for entry in page.entries or ()] == [b""]
