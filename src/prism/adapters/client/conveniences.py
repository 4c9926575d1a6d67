"""Helpers for applications beside the operations: many keys, prefixes, and locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import timedelta
from functools import partial
from typing import TypeVar

from prism.adapters.client.key_value import KeyValueClient, Operations
from prism.adapters.client.lock import Lock, locked
from prism.ports import (
    Capability,
    Entry,
    Exhausted,
    Limits,
    Outcome,
    PrismError,
    Profile,
    Put,
    Version,
)


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
        """Set any number of keys; see `get_many`. Puts that were not sent are *not applied*."""
        return await in_batches(super().set_many, puts, size_of_put, self.profile.limits)

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        """Delete any number of keys; see `get_many`. Deletes that were not sent are *not
        applied*."""
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


Item = TypeVar("Item")
Result = TypeVar("Result")


def size_of_key(key: str) -> int:
    """Return how much of a batch a key takes, in bytes."""
    return len(key.encode("utf-8", "surrogatepass"))


def size_of_put(put: Put) -> int:
    """Return how much of a batch a put takes, in bytes."""
    return size_of_key(put.key) + len(put.value)


async def in_batches(
    call: Callable[[Sequence[Item]], Awaitable[list[Result | PrismError]]],
    items: Sequence[Item],
    size_of: Callable[[Item], int],
    limits: Limits,
) -> list[Result | PrismError]:
    """Return the outcome of each item, from one batch after the other.

    Raises:
        PrismError: the first batch failed. The failure of a later one is the outcome of each of
            its items, and of those after it, which are not sent.
    """
    outcomes: list[Result | PrismError] = []
    for batch in _batches(items, size_of, limits):
        try:
            outcomes += await call(batch)
        except PrismError as error:
            if not outcomes:
                raise
            outcomes += [error] * len(batch)
            unsent = type(error)(error.message, reason=error.reason, outcome=Outcome.NOT_APPLIED)
            outcomes += [unsent] * (len(items) - len(outcomes))
            break
    return outcomes


async def entries_of(
    call: Callable[[Sequence[str]], Awaitable[list[Entry | PrismError | None]]],
    keys: Sequence[str],
) -> list[Entry | PrismError | None]:
    """Return the entries of one batch, asking again for those that did not fit in the reply."""
    outcomes = await call(keys)
    while True:
        left = [index for index, each in enumerate(outcomes) if isinstance(each, Exhausted)]
        if not left:
            return outcomes
        found = await call([keys[index] for index in left])
        for index, outcome in zip(left, found, strict=True):
            outcomes[index] = outcome
        if all(isinstance(each, Exhausted) for each in found):
            # Nothing has room for them.
            return outcomes


def _batches(
    items: Sequence[Item], size_of: Callable[[Item], int], limits: Limits
) -> Iterator[Sequence[Item]]:
    begin, size = 0, 0
    for index, item in enumerate(items):
        more = size_of(item)
        full = index - begin == limits.max_batch_items or size + more > limits.max_batch_bytes
        if full and index > begin:
            yield items[begin:index]
            begin, size = index, 0
        size += more
    yield items[begin:] if begin else items
