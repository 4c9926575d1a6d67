"""Scans that return too much, or too little."""

from __future__ import annotations

from typing import Any

from prism.ports import Driver, Page
from tests.selftest.faults.fault import Fault


class PrefixesBleed(Fault):
    caught_by = "test_scan_returns_no_key_beside_the_prefix"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await super().scan(
            prefix[:-1], page_size=page_size, page_token=page_token, values=values
        )


class ScansSkipAtPageEnds(Fault):
    caught_by = "test_pages_together_hold_every_key"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await super().scan(prefix, page_size=page_size, page_token=page_token, values=values)
        if not page.next_token:
            return page
        return Page(page.keys[:-1], page.entries and page.entries[:-1], page.next_token)


class ScansEndWhereAKeyIsGone(Fault):
    caught_by = "test_the_key_a_page_ended_at_may_be_deleted"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._ended_at: dict[str, list[str]] = {}

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        if page_token:
            last = next(iter(self._ended_at.get(page_token, [])), None)
            if last is not None and not await self.exists(last):
                return Page((), () if values else None, "")
        page = await super().scan(prefix, page_size=page_size, page_token=page_token, values=values)
        if page.next_token:
            self._ended_at[page.next_token] = list(page.keys[-1:])
        return page
