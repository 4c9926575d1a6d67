"""Drivers with one defect in a scan of many keys, or beside other calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from prism.ports import Driver, Entry, Page
from tests.selftest.faults.fault import Fault


class ScanFault(Fault):
    """Fault in the page that a scan returns."""

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        return await self.changed(page, page_token)

    async def changed(self, page: Page, token: str) -> Page:
        raise NotImplementedError


class ScansEndAfterSomeThousandKeys(ScanFault):
    """Asks the server once for all keys, and takes its limit for the end."""

    caught_by = "test_a_scan_of_ten_thousand_keys_is_complete"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._returned: dict[str, int] = {}

    async def changed(self, page: Page, token: str) -> Page:
        returned = self._returned.get(token, 0) + len(page.keys)
        if page.next_token:
            self._returned[page.next_token] = returned
        return replace(page, next_token="") if returned > 6_000 else page


class OneCursorForAllScans(ScanFault):
    """Keeps the position of a scan in the driver; the last scan that moved determines it."""

    caught_by = "test_two_scans_at_once_do_not_disturb_each_other"
    _latest = ""

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        await asyncio.sleep(0)
        position = f"{prefix}|{values}|"
        token = page_token
        if page_token and self._latest.startswith(position):
            token = self._latest.removeprefix(position)
        page = await self.inner.scan(prefix, page_size=page_size, page_token=token, values=values)
        if page.next_token:
            self._latest = position + page.next_token
        return page


class ScansSeeTheStoreAtAPlace(ScanFault):
    """Continues at a number of keys instead of at a key: earlier keys push others away."""

    caught_by = "test_a_scan_misses_no_key_while_the_store_grows"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._keys: dict[str, int] = {}

    async def changed(self, page: Page, token: str) -> Page:
        count = int((await self.inner.health()).details["keys"])
        if token and count > self._keys.get(token, count) + 1_000:
            page = replace(page, keys=(), entries=None if page.entries is None else ())
        if page.next_token:
            self._keys[page.next_token] = count
        return page


class ValuesMoveUpWhereAKeyVanished(ScanFault):
    """Lists the keys, then reads the values, and leaves out those that are gone."""

    caught_by = "test_a_value_belongs_to_its_key_while_others_vanish"

    async def changed(self, page: Page, token: str) -> Page:
        if page.entries is None:
            return page
        for _ in range(3):
            await asyncio.sleep(0)
        found: Sequence[Entry | None] = [await self.inner.get(key) for key in page.keys]
        there = [entry for entry in found if entry is not None]
        missing = len(page.keys) - len(there)
        return Page(page.keys[: len(page.keys) - missing], there, page.next_token)


class IdleScansAreForgotten(ScanFault):
    """Ends a scan whose next page is asked for only after a while."""

    caught_by = "test_an_idle_scan_continues_where_it_was"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._made: dict[str, float] = {}

    async def changed(self, page: Page, token: str) -> Page:
        now = time.monotonic()
        if now - self._made.get(token, now) > 0.25:
            return Page((), None if page.entries is None else (), "")
        if page.next_token:
            self._made[page.next_token] = now
        return page


class ManyUnfinishedScansAreForgotten(ScanFault):
    """Keeps the positions of the last hundred scans only."""

    caught_by = "test_an_idle_scan_continues_where_it_was"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._tokens: dict[str, None] = {}

    async def changed(self, page: Page, token: str) -> Page:
        if token and token not in self._tokens:
            return Page((), None if page.entries is None else (), "")
        if page.next_token:
            self._tokens[page.next_token] = None
            if len(self._tokens) > 100:
                del self._tokens[next(iter(self._tokens))]
        return page


class ScansBlock(ScanFault):
    """Uses a client that blocks, where the page is large."""

    caught_by = "test_a_scan_does_not_hold_the_event_loop"

    async def changed(self, page: Page, token: str) -> Page:
        if len(page.keys) >= 500:
            time.sleep(0.3)  # noqa: ASYNC251
        return page
