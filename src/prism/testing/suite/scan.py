"""Group scan: `Capability.SCAN`."""

from __future__ import annotations

import asyncio

import pytest

from prism.ports import (
    Capability,
    Entry,
    FullKeyValue,
    InvalidArgument,
    ScanExpired,
    Unsupported,
)
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.calls import gather_bounded
from prism.testing.suite.group import group, needs, runs_without_capability
from prism.testing.suite.large_scans import LargeScans, pages_under
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

BAD_TOKENS = {
    "words": "not a token",
    "number": "1",
    "zero": "0",
    "blank": " ",
    "base64": "AAAA",
    "base64 of nothing": "====",
    "long": "A" * 5000,
    "emoji": "🔑",
    "nul": "\x00",
    "lone surrogate": "\ud800",
}


@group(Capability.SCAN)
class Scans(LargeScans):
    """scan: the keys under a literal prefix, in pages."""

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

    async def test_scan_returns_no_key_outside_the_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        inside = {f"{prefix}b", f"{prefix}b/1", f"{prefix}ba", f"{prefix}b\x00"}
        outside = {prefix, f"{prefix}a", f"{prefix}c", f"{prefix}B", f"{prefix}ab", f"x{prefix}b"}
        for key in inside | outside:
            await kv.set(key, b"value")
        assert await keys_under(kv, f"{prefix}b") == inside

    async def test_a_key_equal_to_the_prefix_is_returned(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await keys_under(kv, key) == {key}

    async def test_scan_of_a_prefix_without_keys_is_empty(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        assert await keys_under(kv, prefix) == set()

    async def test_the_empty_prefix_returns_every_key(self, kv: FullKeyValue, prefix: str) -> None:
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

    async def test_a_prefix_of_1024_bytes_can_be_scanned(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        key = prefix.ljust(1024, "*")
        await kv.set(key, b"value")
        assert await keys_under(kv, key) == {key}

    async def test_a_prefix_that_is_not_valid_text_is_refused(self, kv: FullKeyValue) -> None:
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

    async def test_unusual_keys_are_returned_unchanged(self, kv: FullKeyValue, prefix: str) -> None:
        names = [" ", "\x00", "\n", "*", ">", "a.b..c", "/", "\\", "🔑", "e\u0301", "é", "\uffff"]
        expected = {prefix + name for name in names}
        for key in expected:
            await kv.set(key, key.encode())
        assert await keys_under(kv, prefix) == expected

    @pytest.mark.parametrize("page_size", [1, 3])
    async def test_unusual_keys_are_returned_by_pages_of_every_size(
        self, kv: FullKeyValue, prefix: str, page_size: int
    ) -> None:
        # In order of code points, of UTF-16 and of letters these are in other orders.
        names = ["", "\x00", "\x00a", " ", "%", "A", "a", "a\x00", "a|b", "a:b", "a/b", "B", "É"]
        names += ["e\u0301", "é", "\u0800", "\ud7ff", "\ue000", "\uffff", "🔑", "🔑a", "\U0010ffff"]
        expected = {f"{prefix}k{name}" for name in names}
        for key in expected:
            await kv.set(key, b"value")
        assert await keys_under(kv, prefix, page_size=page_size) == expected
        wide = {key for key in expected if key.startswith(f"{prefix}k🔑")}
        assert await keys_under(kv, f"{prefix}k🔑", page_size=page_size) == wide

    async def test_entries_are_omitted_by_default(self, kv: FullKeyValue, prefix: str) -> None:
        await put_all(kv, prefix, 3)
        async for page in pages_under(kv, prefix):
            assert page.entries is None

    async def test_entries_are_those_that_get_returns(self, kv: FullKeyValue, prefix: str) -> None:
        expected: dict[str, Entry | None] = {}
        for key in await put_all(kv, prefix, 12):
            expected[key] = await kv.get(key)
        found: dict[str, Entry] = {}
        async for page in pages_under(kv, prefix, page_size=5, values=True):
            assert page.entries is not None
            found.update(zip(page.keys, page.entries, strict=True))
        assert found == expected

    async def test_an_empty_value_is_scanned(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"")
        found = [page async for page in pages_under(kv, key, values=True) if page.keys]
        assert [entry.value for page in found for entry in page.entries or ()] == [b""]

    # Pages: may be empty or repeat a key; only an empty token means the end

    @pytest.mark.parametrize("page_size", [1, 2, 7, 30, 31])
    async def test_all_pages_together_contain_every_key(
        self, kv: FullKeyValue, prefix: str, page_size: int
    ) -> None:
        expected = await put_all(kv, prefix, 30)
        assert await keys_under(kv, prefix, page_size=page_size) == expected

    @pytest.mark.parametrize("page_size", [1, 2, 7])
    async def test_a_page_contains_at_most_its_size(
        self, kv: FullKeyValue, prefix: str, page_size: int
    ) -> None:
        await put_all(kv, prefix, 20)
        sizes = [len(page.keys) async for page in pages_under(kv, prefix, page_size=page_size)]
        assert max(sizes) <= page_size

    async def test_a_page_size_over_the_limit_is_reduced_to_the_limit(
        self, backend: Backend, prefix: str
    ) -> None:
        limit = backend.profile.limits.max_page_size
        expected = await put_all(backend.kv, prefix, limit + 50)
        for page_size in (limit + 1, 1 << 40):
            seen: set[str] = set()
            async for page in pages_under(backend.kv, prefix, page_size=page_size):
                assert len(page.keys) <= limit
                seen.update(page.keys)
            assert seen == expected

    async def test_the_page_size_may_change_between_pages(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        expected = await put_all(kv, prefix, 12)
        first = await kv.scan(prefix, page_size=2)
        seen, token = set(first.keys), first.next_token
        while token:
            page = await kv.scan(prefix, page_size=5, page_token=token)
            seen.update(page.keys)
            token = page.next_token
        assert seen == expected

    @pytest.mark.parametrize("page_size", [-1, -(1 << 31), -(1 << 40)])
    async def test_a_negative_page_size_is_refused(
        self, kv: FullKeyValue, prefix: str, page_size: int
    ) -> None:
        with pytest.raises(InvalidArgument):
            await kv.scan(prefix, page_size=page_size)

    async def test_a_page_ends_near_the_byte_limit(self, backend: Backend, prefix: str) -> None:
        kv, limits = backend.kv, backend.profile.limits
        size = min(limits.max_value_bytes, limits.max_batch_bytes)
        count = 2 * limits.max_batch_bytes // size + 1
        expected = {f"{prefix}{number}" for number in range(count)}
        for key in expected:
            await kv.set(key, bytes(size))
        pages = [page async for page in pages_under(kv, prefix, values=True)]
        for key in expected:
            await kv.delete(key)
        assert {key for page in pages for key in page.keys} == expected
        for page in pages:
            assert sum(len(entry.value) for entry in page.entries or ()) <= (
                limits.max_batch_bytes + size
            )

    async def test_a_value_at_the_limit_is_scanned(self, backend: Backend, key: str) -> None:
        kv, size = backend.kv, backend.profile.limits.max_value_bytes
        await kv.set(key, bytes(size))
        pages = [page async for page in pages_under(kv, key, values=True)]
        await kv.delete(key)
        found = {len(entry.value) for page in pages for entry in page.entries or ()}
        assert found == {size}

    async def test_a_token_is_refused_for_another_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        token = await _token(kv, prefix)
        for other in (f"{prefix}0", prefix[:-1], "", f"{prefix}\x00"):
            with pytest.raises(InvalidArgument):
                await kv.scan(other, page_token=token)

    async def test_a_token_is_refused_for_other_options(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        for values in (False, True):
            token = await _token(kv, prefix, values=values)
            with pytest.raises(InvalidArgument):
                await kv.scan(prefix, page_token=token, values=not values)

    async def test_a_token_can_be_used_twice(self, kv: FullKeyValue, prefix: str) -> None:
        expected = await put_all(kv, prefix, 10)
        first = await kv.scan(prefix, page_size=4)
        for _ in range(2):
            seen, token = set(first.keys), first.next_token
            while token:
                page = await kv.scan(prefix, page_size=4, page_token=token)
                seen.update(page.keys)
                token = page.next_token
            assert seen == expected

    @pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
    async def test_a_malformed_token_is_refused(
        self, kv: FullKeyValue, prefix: str, token: str
    ) -> None:
        with pytest.raises(InvalidArgument):
            await kv.scan(prefix, page_token=token)

    async def test_a_damaged_token_returns_no_key_outside_the_prefix(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        token = await _token(kv, prefix)
        damaged = [token[:-1], token[:-4], token + "A", token + "AAAA", token[1:], token.swapcase()]
        damaged += [token[:at] + "_" + token[at + 1 :] for at in range(len(token))]
        for each in filter(None, damaged):
            try:
                page = await kv.scan(prefix, page_token=each)
            except (InvalidArgument, ScanExpired):
                continue
            assert [key for key in page.keys if not key.startswith(prefix)] == []

    async def test_keys_that_stay_are_returned_while_others_change(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        stay = await put_all(kv, f"{prefix}m/", 40)
        come = [f"{prefix}{place}/{number}" for place in "amz" for number in range(20)]
        seen: set[str] = set()
        turn = 0
        async for page in pages_under(kv, prefix, page_size=3):
            seen.update(page.keys)
            turn += 1
            # Two writes for each page, so that they do not outpace the scan.
            if turn <= len(come):
                await kv.set(come[turn - 1], b"value")
                await kv.delete(come[turn // 2])
        assert stay <= seen
        assert seen <= stay | set(come)

    async def test_keys_overwritten_during_a_scan_are_returned(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        stay = await put_all(kv, prefix, 40)

        async def overwrite() -> None:
            for turn in range(5):
                for key in sorted(stay):
                    await kv.set(key, b"%d" % turn)

        writer = asyncio.create_task(overwrite())
        seen = await keys_under(kv, prefix, page_size=3)
        await writer
        assert seen == stay

    async def test_a_scan_continues_after_the_last_key_of_a_page_is_deleted(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        expected = await put_all(kv, prefix, 20)
        seen: set[str] = set()
        async for page in pages_under(kv, prefix, page_size=3):
            seen.update(page.keys)
            for key in page.keys:
                await kv.delete(key)
        assert seen == expected

    async def test_a_token_survives_a_restart_of_the_gateway(
        self, backend: Backend, open_backend: OpenBackend, prefix: str
    ) -> None:
        expected = await put_all(backend.kv, prefix, 10)
        first = await backend.kv.scan(prefix, page_size=4)
        seen, token = set(first.keys), first.next_token
        async with open_backend() as restarted:
            shared = await restarted.kv.exists(f"{prefix}00000")
            while token:
                try:
                    page = await restarted.kv.scan(prefix, page_size=4, page_token=token)
                except ScanExpired:
                    # The store ended with the old process, and the driver reports that.
                    assert not shared
                    return
                seen.update(page.keys)
                token = page.next_token
        assert seen == expected or not shared


async def put_all(kv: FullKeyValue, prefix: str, count: int) -> set[str]:
    """Write this many keys under the prefix, each with its own value; return the keys."""
    keys = [f"{prefix}{number:05}" for number in range(count)]
    await gather_bounded(kv.set(key, key.encode()) for key in keys)
    return set(keys)


async def keys_under(kv: FullKeyValue, prefix: str, *, page_size: int = 0) -> set[str]:
    """Return the keys that one scan returns."""
    return {key async for page in pages_under(kv, prefix, page_size=page_size) for key in page.keys}


async def _token(kv: FullKeyValue, prefix: str, *, values: bool = False) -> str:
    """Return the token of a page that is not the last."""
    await put_all(kv, prefix, 10)
    page = await kv.scan(prefix, page_size=2, values=values)
    assert page.next_token
    return page.next_token
