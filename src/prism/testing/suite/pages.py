"""Group Scan: pages and their tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from prism.ports import (
    Capability,
    FullKeyValue,
    InvalidArgument,
    Page,
    ScanExpired,
)
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.group import Group, group
from prism.testing.suite.workload import gather_bounded

_MOST_PAGES = 20_000

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


async def put_all(kv: FullKeyValue, prefix: str, count: int) -> set[str]:
    """Keys under the prefix, each with a value of its own."""
    keys = [f"{prefix}{number:05}" for number in range(count)]
    await gather_bounded(kv.set(key, key.encode()) for key in keys)
    return set(keys)


async def pages_under(
    kv: FullKeyValue, prefix: str, *, page_size: int = 0, values: bool = False
) -> AsyncIterator[Page]:
    """The pages of one scan."""
    token = ""
    for _ in range(_MOST_PAGES):
        page = await kv.scan(prefix, page_size=page_size, page_token=token, values=values)
        yield page
        token = page.next_token
        if not token:
            return
    raise AssertionError(f"the scan does not end within {_MOST_PAGES} pages")


async def keys_under(kv: FullKeyValue, prefix: str, *, page_size: int = 0) -> set[str]:
    """The keys that one scan returns."""
    return {key async for page in pages_under(kv, prefix, page_size=page_size) for key in page.keys}


@group(Capability.SCAN)
class Pages(Group):
    """Pages may be empty or repeat a key; only an empty token means the end."""

    @pytest.mark.parametrize("page_size", [1, 2, 7, 30, 31])
    async def test_pages_together_hold_every_key(
        self, kv: FullKeyValue, prefix: str, page_size: int
    ) -> None:
        expected = await put_all(kv, prefix, 30)
        assert await keys_under(kv, prefix, page_size=page_size) == expected

    @pytest.mark.parametrize("page_size", [1, 2, 7])
    async def test_a_page_holds_at_most_its_size(
        self, kv: FullKeyValue, prefix: str, page_size: int
    ) -> None:
        await put_all(kv, prefix, 20)
        sizes = [len(page.keys) async for page in pages_under(kv, prefix, page_size=page_size)]
        assert max(sizes) <= page_size

    async def test_a_page_size_over_the_limit_is_clamped(
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

    async def test_a_page_ends_near_the_limit_on_bytes(self, backend: Backend, prefix: str) -> None:
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

    async def test_a_token_belongs_to_its_prefix(self, kv: FullKeyValue, prefix: str) -> None:
        token = await _token(kv, prefix)
        for other in (f"{prefix}0", prefix[:-1], "", f"{prefix}\x00"):
            with pytest.raises(InvalidArgument):
                await kv.scan(other, page_token=token)

    async def test_a_token_belongs_to_its_options(self, kv: FullKeyValue, prefix: str) -> None:
        for values in (False, True):
            token = await _token(kv, prefix, values=values)
            with pytest.raises(InvalidArgument):
                await kv.scan(prefix, page_token=token, values=not values)

    async def test_a_token_can_be_used_again(self, kv: FullKeyValue, prefix: str) -> None:
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

    async def test_a_damaged_token_never_leaves_the_prefix(
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

    async def test_keys_that_stay_are_returned_while_others_come_and_go(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        stay = await put_all(kv, f"{prefix}m/", 40)
        come = [f"{prefix}{place}/{number}" for place in "amz" for number in range(20)]
        seen: set[str] = set()
        turn = 0
        async for page in pages_under(kv, prefix, page_size=3):
            seen.update(page.keys)
            turn += 1
            # A few writes a page, so that they do not outpace the scan.
            if turn <= len(come):
                await kv.set(come[turn - 1], b"value")
                await kv.delete(come[turn // 2])
        assert stay <= seen
        assert seen <= stay | set(come)

    async def test_keys_that_are_overwritten_while_scanned_are_returned(
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

    async def test_the_key_a_page_ended_at_may_be_deleted(
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
                    # The store did not outlive the process, and the driver can tell.
                    assert not shared
                    return
                seen.update(page.keys)
                token = page.next_token
        assert seen == expected or not shared


async def _token(kv: FullKeyValue, prefix: str, *, values: bool = False) -> str:
    """Of a page that is not the last."""
    await put_all(kv, prefix, 10)
    page = await kv.scan(prefix, page_size=2, values=values)
    assert page.next_token
    return page.next_token
