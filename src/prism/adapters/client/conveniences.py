"""Helpers for applications beside the operations: many keys, prefixes, and locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from functools import partial

from prism.adapters.client.key_value import KeyValueClient, Operations
from prism.adapters.client.lock import Lock, locked
from prism.adapters.client.many_keys import entries_of, in_batches, size_of_key, size_of_put
from prism.ports import Capability, Entry, PrismError, Profile, Put, Version


class ConvenientClient(KeyValueClient):
    """Key-value operations, and what is made of them.

    Attributes:
        profile: name, capabilities and limits of the server's driver.
    """

    def __init__(self, operations: Operations, profile: Profile) -> None:
        super().__init__(operations)
        self.profile = profile

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        """Return the entry of each of any number of keys.

        Sends as many requests as the server's limits need, one after the other, each with the
        client's timeout.

        Raises:
            PrismError: the first request failed. The failure of a later one is the outcome of
                the keys that remain.
        """
        call = partial(entries_of, super().get_many)
        return await in_batches(call, keys, size_of_key, self.profile.limits)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        """Set any number of keys; see `get_many`. What was not sent is *not applied*."""
        return await in_batches(super().set_many, puts, size_of_put, self.profile.limits)

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        """Delete any number of keys; see `get_many`. What was not sent is *not applied*."""
        return await in_batches(super().delete_many, keys, size_of_key, self.profile.limits)

    async def scan_iter(self, prefix: str = "") -> AsyncGenerator[str, None]:
        """Yield every key with a prefix, page after page; a key may come twice.

        Raises:
            PrismError: a page could not be read.
        """
        token = ""
        while True:
            page = await self.scan(prefix, page_token=token)
            for key in page.keys:
                yield key
            token = page.next_token
            if not token:
                return

    async def scan_entries(self, prefix: str = "") -> AsyncGenerator[tuple[str, Entry], None]:
        """Yield every key with a prefix and its entry; see `scan_iter`."""
        token = ""
        while True:
            page = await self.scan(prefix, page_token=token, values=True)
            for item in zip(page.keys, page.entries or (), strict=True):
                yield item
            token = page.next_token
            if not token:
                return

    async def count(self, prefix: str = "") -> int:
        """Return the number of keys with a prefix, each of which is read.

        Keys that are written meanwhile may be counted or not.

        Raises:
            PrismError: a page could not be read.
        """
        async with aclosing(self.scan_iter(prefix)) as keys:
            return len({key async for key in keys})

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every key with a prefix, page after page; return how many there were.

        Keys that are written meanwhile may remain.

        Raises:
            PrismError: a page could not be read, or a key could not be deleted; others are.
        """
        deleted, token = 0, ""
        while True:
            page = await self.scan(prefix, page_token=token)
            for outcome in await self._deleted(page.keys):
                if isinstance(outcome, PrismError):
                    raise outcome
                deleted += outcome
            token = page.next_token
            if not token:
                return deleted

    async def _deleted(self, keys: Sequence[str]) -> Sequence[bool | PrismError]:
        if Capability.BATCH in self.profile.capabilities:
            return await self.delete_many(keys) if keys else []
        return await asyncio.gather(*map(self.delete, keys))

    def lock(
        self, name: str, *, ttl: timedelta, wait: timedelta | None = None
    ) -> AbstractAsyncContextManager[Lock]:
        """Hold a lock for as long as the context lasts.

            async with kv.lock("jobs/nightly", ttl=timedelta(minutes=1)) as lock:
                await lock.renew()

        The lock is the key of this name. It expires after `ttl`, so a holder that died blocks
        nobody for good; one that takes longer calls `Lock.renew`. `Lock.version` fences
        transactions against a holder that has lost it.

        Args:
            ttl: how long it is held without a renewal.
            wait: how long to wait for another holder; None: as long as it takes.

        Raises:
            VersionConflict: on entering: somebody else holds it, for longer than `wait`. On
                leaving: it was lost meanwhile.
            Unsupported: the server has no ttl or no compare-and-set.
        """
        return locked(self, name, ttl, wait)
