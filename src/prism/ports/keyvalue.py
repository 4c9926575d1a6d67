"""What a caller can do with keys: one mandatory port, and one per capability.

Drivers implement these, the gateway offers them, and the gRPC client carries
them over the wire, so that the same tests hold for all three.

For every method: keys are 1 to 1,024 bytes of UTF-8 and valid before a driver
sees them; an expired key is an absent key; a `ttl` is above zero and at most
100 years; cancelling a read changes nothing, and cancelling a write leaves its
outcome unknown; either way the next call finds the driver usable. Every method
may raise `NotServing`, `BackendUnavailable` and `BackendTimeout`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from prism.ports.errors import PrismError
from prism.ports.values import Count, Entry, Event, Lifetime, Page, Persisted, Put, Version


class KeyValue(Protocol):
    """The mandatory part: linearizable operations on single keys."""

    async def get(self, key: str) -> Entry | None:
        """The entry, or None when the key is absent."""
        ...

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        """Write the value, to expire after `ttl`, or never: an earlier ttl is gone.

        Raises:
            InvalidArgument: the value is over the limit.
            Exhausted: the backend has no room; nothing changed.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Remove the key; True when it existed."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether the key exists."""
        ...


class Expiry(Protocol):
    """`Capability.TTL`, with the ttl of `KeyValue.set`.

    A key is never returned after its expiry and never lost before it. A ttl is
    rounded up to the declared granularity.
    """

    async def expire(self, key: str, ttl: timedelta) -> bool:
        """Give an existing key a new ttl; False when there is no such key."""
        ...

    async def ttl(self, key: str) -> Lifetime | None:
        """How long the key has to live; None when there is no such key."""
        ...

    async def persist(self, key: str) -> Persisted:
        """Remove the ttl of an existing key."""
        ...


class CompareAndSet(Protocol):
    """`Capability.COMPARE_AND_SET`: of N racers on one state, one wins."""

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        """Write the value if the key is as expected.

        Args:
            expected: the version the key must have; None: it must be absent.

        Raises:
            VersionConflict: it is not; nothing changed.
        """
        ...

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        """Remove the key if it has the expected version.

        Raises:
            VersionConflict: it has another, or is absent; nothing changed.
        """
        ...


class Batch(Protocol):
    """`Capability.BATCH`: many keys in one request, each with its own outcome.

    Outcomes align with the request, and an error is one of them: an item fails
    alone. Not atomic across keys. A key named twice takes effect in order.
    """

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        """Read the keys; what does not fit the reply is `Exhausted`."""
        ...

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        """Write the items, each with its own ttl."""
        ...

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        """Remove the keys; True for each that existed."""
        ...


class Scan(Protocol):
    """`Capability.SCAN`."""

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        """List keys that begin with the literal prefix, filtered at the backend.

        Every key that exists throughout the scan is returned at least once.

        Args:
            page_size: at most so many keys; 0 lets the backend choose, more than
                its limit is clamped. A page also ends near the limit on bytes,
                yet holds one entry at least when there is any left.
            page_token: `next_token` of the page before, under the same prefix
                and `values`; empty: from the start.
            values: fill `Page.entries`.

        Raises:
            InvalidArgument: the token is malformed, or of another scan.
            ScanExpired: the backend cannot go on from there: start again.
        """
        ...


class Counter(Protocol):
    """`Capability.COUNTER`."""

    async def increment(self, key: str, delta: int = 1) -> Count:
        """Add to the number under the key, atomically; absent counts as 0.

        The number is stored as canonical decimal text, and a ttl is kept.

        Args:
            delta: a signed 64-bit integer; 0 writes too.

        Raises:
            PreconditionFailed: `NOT_AN_INTEGER` when something else is stored,
                `OVERFLOW` when the sum leaves int64; nothing changed.
        """
        ...


class Watch(Protocol):
    """`Capability.WATCH`."""

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Report every change of the keys that begin with the literal prefix.

        Entering the context returns once the watch stands: what changes from then
        on is reported, in order per key, so that a scan begun now and the events
        together miss nothing. Leaving it, or cancelling, ends the watch.

            async with kv.watch("user/") as events:
                async for event in events:
                    ...

        An expiry is reported within the declared `event_delay`, or not at all when
        a put overtakes it. `expire` and `persist` are no events. A put of a key that
        has just expired may be reported without the expiry.

        Raises:
            WatchEnded: on reading, after the events that came before: something
                may have been missed (a reconnect, a failover, a slow reader).
        """
        ...


class FullKeyValue(KeyValue, Expiry, CompareAndSet, Batch, Scan, Counter, Watch, Protocol):
    """Every port above in one: what the gateway and the gRPC client offer.

    What the backend does not declare is refused with `Unsupported`.
    """
