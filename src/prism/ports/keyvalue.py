"""Key-value operations: one mandatory port, and one port for each capability.

Drivers, the gateway and the gRPC client implement these ports, so the same tests apply to all
three. `prism.ports.operations` lists the operations in a table.

For every method:

- A key is 1 to 1,024 bytes of UTF-8. Keys, prefixes and ttls are checked before a driver is
  called. A ttl is above zero and at most 100 years.
- An expired key is absent to every operation, also when no operation has found it since.
- Cancelling a read has no effect. Cancelling a write leaves its outcome unknown: it is applied
  whole or not at all. Afterwards every operation works, and no lock, task or connection is
  held.
- As many calls of any kind as the limits admit, made at once, all finish.
- Where `Profile.shared` says so, all of this holds for several drivers on one store together.
- Unless `Profile.ephemeral` says so, acknowledged writes survive a stop and a start. The driver's
  documentation says which crashes they survive. A version that is a revision never repeats for
  a key, across restarts, deletes and expiries too.
- `NotServing`, `BackendUnavailable` and `BackendTimeout` may be raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from prism.ports.errors import PrismError
from prism.ports.values import (
    Condition,
    Count,
    Entry,
    Event,
    Lifetime,
    Page,
    Persisted,
    Put,
    Version,
    Write,
)


class KeyValue(Protocol):
    """Mandatory port: linearizable operations on single keys."""

    async def get(self, key: str) -> Entry | None:
        """Return the entry of a key, or None when the key is absent."""
        ...

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        """Write a value and return its version.

        Args:
            ttl: time after which the key expires; None: never, even if it had a ttl before.

        Raises:
            InvalidArgument: the value is larger than the limit.
            Exhausted: the backend has no room; nothing changed.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Delete a key; return whether it existed."""
        ...

    async def exists(self, key: str) -> bool:
        """Return whether a key exists."""
        ...


class Expiry(Protocol):
    """Port of `Capability.TTL`, which the ttl of `KeyValue.set` needs too.

    A key is never returned after its expiry and never lost before it. A ttl is rounded up to
    the declared granularity. Both hold for the ttl of every write: `set`, `expire`,
    `compare_and_set`, `set_many`, and the ttl that `increment` keeps. No read changes a ttl.
    """

    async def expire(self, key: str, ttl: timedelta) -> bool:
        """Set the ttl of a key; return False when the key is absent."""
        ...

    async def ttl(self, key: str) -> Lifetime | None:
        """Return the remaining lifetime of a key, or None when the key is absent."""
        ...

    async def persist(self, key: str) -> Persisted:
        """Remove the ttl of a key; return what was found."""
        ...


class CompareAndSet(Protocol):
    """Port of `Capability.COMPARE_AND_SET`: of N concurrent writers, exactly one wins."""

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        """Write a value if the key has the expected version; return the new version.

        Args:
            expected: version that the key must have; None: the key must be absent.
            ttl: as in `KeyValue.set`.

        Raises:
            VersionConflict: the key is not as expected; nothing changed.
        """
        ...

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        """Delete a key if it has the expected version.

        Raises:
            VersionConflict: the key is absent or has another version; nothing changed.
        """
        ...


class Batch(Protocol):
    """Port of `Capability.BATCH`: many keys in one request.

    The result has one outcome for each item, in the order of the request. An item that fails
    has its error as outcome; the others are not affected. A batch is not atomic. Items with
    the same key take effect in order, each with a version and an event of its own.
    """

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        """Read keys. The outcome of a value that does not fit the reply is `Exhausted`."""
        ...

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        """Write values, each with its own ttl; return their versions."""
        ...

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        """Delete keys; return for each whether it existed."""
        ...


class Scan(Protocol):
    """Port of `Capability.SCAN`."""

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        """Return a page of the keys that begin with a prefix; the backend filters them.

        The pages of a scan contain every key that exists during the whole scan at least once.
        A caller may rest between two pages: the next one continues, or raises `ScanExpired`.
        Two scans at once do not affect each other, and a page of many keys does not hold up
        the other operations of the process.

        Args:
            prefix: literal text, not a pattern; empty: all keys.
            page_size: maximum number of keys; 0 leaves it to the backend, and a number above
                its limit is reduced to the limit. A page also ends near the limit on bytes,
                but has at least one entry while there are any.
            page_token: `next_token` of the page before, from a scan with the same prefix and
                `values`; empty: from the start.
            values: whether `Page.entries` is filled.

        Raises:
            InvalidArgument: the token is malformed or belongs to another scan.
            ScanExpired: the backend cannot continue from this token; start the scan again.
        """
        ...


class Counter(Protocol):
    """Port of `Capability.COUNTER`."""

    async def increment(self, key: str, delta: int = 1) -> Count:
        """Add to the number that a key holds, atomically; an absent key counts as 0.

        The number is stored as canonical decimal text. The key keeps its ttl.

        Args:
            delta: signed 64-bit integer; 0 writes as well.

        Raises:
            PreconditionFailed: `NOT_AN_INTEGER` when the value is not a canonical signed
                64-bit integer; `OVERFLOW` when the sum is not one. Nothing changed.
        """
        ...


class Watch(Protocol):
    """Port of `Capability.WATCH`."""

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Report the changes of the keys that begin with a literal prefix.

        The watch is active once the context is entered. Every later change is reported, in
        order for each key, so a scan that starts then and the events together miss nothing.
        Leaving the context, or cancelling, ends the watch.

            async with kv.watch("user/") as events:
                async for event in events:
                    ...

        A put is reported also when the value is the same. A read that starts after an event
        arrived shows that change or a later one.

        An expiry is reported once, within the declared `event_delay`; it may be left out when
        the key is written again, and never follows the event of that write. `expire` and
        `persist` cause no events.

        A watch ends only for a reason: a reader who keeps up with the changes is never too
        slow, however many there are. Leaving one watch affects no other.

        Raises:
            WatchEnded: from the iterator, after the earlier events: later events may be
                missing because of a reconnect, a failover or a slow reader.
        """
        ...


class Transactions(Protocol):
    """Port of `Capability.TRANSACTIONS`: writes of several keys, all of them or none."""

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        """Write several keys at one moment, if at that moment all conditions hold.

        At that moment every write takes effect or none does: no read, no other write and no
        crash finds some of them. A caller who reads several keys one after the
        other may see the moment pass; that nothing changed in between is confirmed by a
        transaction of conditions on what was read, without writes.

            stock, order = await kv.get("stock"), await kv.get("order")
            await kv.apply(
                [Condition.unchanged("stock", stock), Condition.unchanged("order", order)],
                [Put("stock", b"6"), Put("order", b"1 apple"), Delete("cart")],
            )

        Args:
            conditions: what the keys must be; keys that are written need no condition.
            writes: a put replaces the ttl as `KeyValue.set` does. Watches report each write.

        Neither names a key twice. Limits are those of a batch, for conditions and writes
        together.

        Returns:
            For each write, in order: the new version for a put, and for a delete whether the
            key existed.

        Raises:
            ConditionFailed: the first condition that does not hold; nothing changed.
            InvalidArgument: an item is not valid, a key is named twice, or the backend cannot
                write these keys together; nothing changed.
            Exhausted: the backend has no room for all writes; nothing changed.
        """
        ...


class FullKeyValue(
    KeyValue, Expiry, CompareAndSet, Batch, Scan, Counter, Watch, Transactions, Protocol
):
    """All ports above in one: what the gateway and the gRPC client implement.

    Operations of a capability that the backend does not declare raise `Unsupported`.
    """
