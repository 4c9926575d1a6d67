"""The ports, on top of a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from prism.adapters.nats import batches, counter
from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.closed import Closed
from prism.adapters.nats.connection import Connection
from prism.adapters.nats.health import CLOSED, health_of
from prism.adapters.nats.link import Link
from prism.adapters.nats.many import read_many
from prism.adapters.nats.pages import page
from prism.adapters.nats.profile import profile_of
from prism.adapters.nats.records import Record, milliseconds, sequence_of, version_of
from prism.adapters.nats.rewriting import Rewriting
from prism.adapters.nats.room import Sizes
from prism.adapters.nats.settings import NatsSettings
from prism.adapters.nats.watching import watch
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Count,
    DrainReport,
    Entry,
    Event,
    Health,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    VersionConflict,
)

_CLOSED: Any = Closed()
_CONFLICT = "the key is absent, or has another version than the one expected"


class Nats:
    """A key-value bucket of NATS JetStream.

    Every write but a plain `set` is conditional on the sequence of the key's last
    message; a key that expired, and that the server has yet to remove, counts as absent.
    """

    def __init__(self) -> None:
        self._profile = profile_of()
        self._settings = NatsSettings()
        self._connection: Connection[Bucket] = _CLOSED
        self._rewriting = Rewriting(0)

    @property
    def profile(self) -> Profile:
        return self._profile

    async def get(self, key: str) -> Entry | None:
        bucket = self._connection.opened
        return (await bucket.read(key)).entry_at(bucket.clock.now_ms())

    async def exists(self, key: str) -> bool:
        bucket = self._connection.opened
        return (await bucket.read(key)).is_alive(bucket.clock.now_ms())

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await _put(self._connection.opened, key, value, ttl)

    async def delete(self, key: str) -> bool:
        bucket = self._connection.opened

        async def remove(record: Record) -> bool:
            if not record.is_alive(bucket.clock.now_ms()):
                return False
            await bucket.remove(key, expected=record.sequence)
            return True

        return await self._rewriting.change(bucket, key, remove)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        bucket = self._connection.opened

        async def retime(record: Record) -> bool:
            if not record.is_alive(bucket.clock.now_ms()):
                return False
            await bucket.write(
                key,
                record.value,
                ttl_ms=milliseconds(ttl),
                expected=record.sequence,
                retimed=True,
            )
            return True

        return await self._rewriting.change(bucket, key, retime)

    async def ttl(self, key: str) -> Lifetime | None:
        bucket = self._connection.opened
        record = await bucket.read(key)
        now_ms = bucket.clock.now_ms()
        if not record.is_alive(now_ms):
            return None
        if record.expires_at_ms is None:
            return Lifetime()
        return Lifetime(timedelta(milliseconds=record.expires_at_ms - now_ms))

    async def persist(self, key: str) -> Persisted:
        bucket = self._connection.opened

        async def retime(record: Record) -> Persisted:
            if not record.is_alive(bucket.clock.now_ms()):
                return Persisted.NO_KEY
            if record.expires_at_ms is None:
                return Persisted.NO_EXPIRY
            await bucket.write(key, record.value, expected=record.sequence, retimed=True)
            return Persisted.EXPIRY_REMOVED

        return await self._rewriting.change(bucket, key, retime)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        bucket = self._connection.opened
        if expected is not None:
            sequence = await _sequence(bucket, key, expected)
            return await _put(bucket, key, value, ttl, expected=sequence)

        async def create(record: Record) -> Version | None:
            if record.is_alive(bucket.clock.now_ms()):
                return None
            return await _put(bucket, key, value, ttl, expected=record.sequence)

        try:
            return await _put(bucket, key, value, ttl, expected=0)
        except VersionConflict:
            # What stands in the way may be a tombstone, or have just expired.
            version = await self._rewriting.change(bucket, key, create)
        if version is None:
            raise VersionConflict("the key exists, and the write requires it to be absent")
        return version

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        bucket = self._connection.opened
        await bucket.remove(key, expected=await _sequence(bucket, key, expected))

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        room = self._profile.limits.max_batch_bytes
        found = await read_many(self._connection.opened, keys, room)
        return await batches.read_within(keys, found, self.get, room)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        bucket = self._connection.opened
        return await batches.each(puts, lambda put: put.key, lambda put: _put(bucket, *put))

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return await batches.each(keys, lambda key: key, self.delete)

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await page(
            self._connection.opened,
            self._profile.limits,
            prefix=prefix,
            page_size=page_size,
            cursor=page_token,
            values=values,
        )

    async def increment(self, key: str, delta: int = 1) -> Count:
        bucket = self._connection.opened

        async def add(record: Record) -> Count:
            alive = record.is_alive(bucket.clock.now_ms())
            expires_at_ms = record.expires_at_ms if alive else None
            number = counter.add(record.value if alive else b"0", delta)
            sequence = await bucket.write(
                key, b"%d" % number, expires_at_ms=expires_at_ms, expected=record.sequence
            )
            return Count(number, version_of(sequence, expires=expires_at_ms is not None))

        return await self._rewriting.change(bucket, key, add)

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return watch(self._connection.opened, prefix)

    async def initialize(self, settings: NatsSettings) -> None:
        sizes = Sizes()

        async def open_bucket(link: Link) -> Bucket:
            bucket = await Bucket.open(link, settings, sizes)
            self._profile = profile_of(bucket)
            return bucket

        connection = Connection(settings, open_bucket)
        await connection.open()
        self._settings = settings
        self._rewriting = Rewriting(settings.timeout.total_seconds())
        self._connection = connection

    async def start(self) -> None:
        """Nothing to begin: the connection stands."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        connection, self._connection = self._connection, _CLOSED
        if connection is not _CLOSED:
            await connection.close()

    async def health(self) -> Health:
        if self._connection is _CLOSED:
            return CLOSED
        return await health_of(self._connection, self._settings.addresses)


async def _put(
    bucket: Bucket,
    key: str,
    value: bytes,
    ttl: timedelta | None,
    *,
    expected: int | None = None,
) -> Version:
    ttl_ms = None if ttl is None else milliseconds(ttl)
    sequence = await bucket.write(key, value, ttl_ms=ttl_ms, expected=expected)
    return version_of(sequence, expires=ttl is not None)


async def _sequence(bucket: Bucket, key: str, expected: Version) -> int:
    """What to make the write depend on.

    Raises:
        VersionConflict: the key is not in that state; the server could not tell of one
            that has expired, and that it is about to remove.
    """
    sequence, expires = sequence_of(expected)
    if not sequence:
        raise VersionConflict(_CONFLICT)
    if expires:
        record = await bucket.read(key)
        if record.version != expected or not record.is_alive(bucket.clock.now_ms()):
            raise VersionConflict(_CONFLICT)
    return sequence
