"""The bucket: reads and writes the messages of its keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

from prism.adapters.nats import errors
from prism.adapters.nats.byte_budget import (
    MAX_READ_BYTES,
    MAX_WRITTEN_BYTES,
    ByteBudget,
    ValueSizeEstimate,
)
from prism.adapters.nats.connection import Connection
from prism.adapters.nats.consumers import ConsumerPool
from prism.adapters.nats.encoding import (
    ABSENT,
    EXPECTED_SEQUENCE,
    EXPIRED,
    EXPIRY_ONLY,
    HEADERS_BYTES,
    TOMBSTONE_HEADERS,
    KeyRecord,
    encode_headers,
    encode_key,
    record_in_answer,
    record_in_message,
    stored_sequence_in,
)
from prism.adapters.nats.expiry import ServerClock, epoch_s, expires_at_headers, ttl_headers
from prism.adapters.nats.settings import NatsSettings
from prism.adapters.nats.stream import StreamInfo, open_stream
from prism.ports import InvalidArgument, Outcome, PrismError, VersionConflict

ResultT = TypeVar("ResultT")

CLOCK_ERROR_S = 0.05
"""Bound on the error of the server's clock that opening a bucket aims at."""

_CLOCK_READINGS = 20
_REFRESH_INTERVAL_S = 5.0


class Bucket:
    """Bucket over one connection; usable until the connection is lost.

    Attributes:
        read_budget: bytes of answers that may be in flight.
        consumers: consumers of the stream, through which scans read.
        created: the server's timestamp of the stream's creation.
        on_interruption: called with the reason when the server may leave out republished messages.
    """

    def __init__(
        self, connection: Connection, settings: NatsSettings, value_size: ValueSizeEstimate
    ) -> None:
        self.connection = connection
        self.name = settings.bucket
        self.stream = settings.stream_name
        self.key_prefix = settings.key_prefix
        self.event_prefix = settings.event_prefix
        self.is_replicated = settings.replicas > 1
        self.clock = ServerClock()
        self.value_size = value_size
        self.read_budget = ByteBudget(MAX_READ_BYTES, connection.timeout_s, connection.address)
        self.consumers = ConsumerPool(connection, self.stream, self.read_budget)
        self.created = ""
        self.on_interruption: set[Callable[[str], None]] = set()
        self._write_budget = ByteBudget(MAX_WRITTEN_BYTES, connection.timeout_s, connection.address)
        self._max_message_bytes = connection.max_payload
        self._leader = ""
        self._key_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    async def open(
        cls, connection: Connection, settings: NatsSettings, value_size: ValueSizeEstimate
    ) -> Bucket:
        """Create or check the bucket, and read the server's clock.

        Raises:
            PrismError: as `open_stream` does.
        """
        bucket = cls(connection, settings, value_size)
        info = await open_stream(connection, settings)
        limit = info["config"].get("max_msg_size")
        if isinstance(limit, int) and limit > 0:
            bucket._max_message_bytes = min(limit, connection.max_payload)
        for _ in range(_CLOCK_READINGS):
            await bucket.refresh()
            if bucket.clock.error_s < CLOCK_ERROR_S / 2:
                break
        refreshing = asyncio.get_running_loop().create_task(bucket._keep_fresh())

        def stop(reason: str) -> None:
            refreshing.cancel()
            bucket.interrupt(f"the connection broke: {reason}")

        connection.on_lost.append(stop)
        return bucket

    @property
    def max_value_bytes(self) -> int:
        return self._max_message_bytes - HEADERS_BYTES

    @property
    def expected_answer_bytes(self) -> int:
        """Expected size of one value in an answer, which may be base64."""
        return int(self.value_size.expected_bytes * 4 / 3) + HEADERS_BYTES

    async def refresh(self) -> StreamInfo:
        """Return the state of the stream as its leader sees it, and read the server's clock.

        A bucket that was deleted or recreated ends the connection: the next one opens it again.
        """
        asked_s = time.monotonic()
        info: StreamInfo | None
        info = await self.connection.api(
            f"STREAM.INFO.{self.stream}", absent=errors.STREAM_NOT_FOUND
        )
        if info is None:
            self.connection.fail("the bucket was deleted")
            raise errors.not_connected(self.connection.address, self.connection.last_error)
        if self.created and info["created"] != self.created:
            # The new bucket may lack what the driver needs.
            self.connection.fail("the bucket was deleted and recreated")
        if info["config"].get("subject_delete_marker_ttl"):
            # Markers of the server overwrite values. Opening the bucket switches them off.
            self.connection.fail("another client switched on delete markers in the bucket")
        self.clock.observe(asked_s, epoch_s(info["ts"]), time.monotonic())
        self.created = info["created"]
        state = info["state"]
        self.value_size.raise_to(state["bytes"] / max(state["messages"], 1))
        leader = (info.get("cluster") or {}).get("leader", "")
        if leader and self._leader and leader != self._leader:
            self.interrupt("another server became the leader of the bucket")
        self._leader = leader or self._leader
        return info

    def interrupt(self, reason: str) -> None:
        """Call `on_interruption`."""
        for callback in tuple(self.on_interruption):
            callback(reason)

    async def read(self, key: str) -> KeyRecord:
        """Return the last record of the key."""
        subject = self.key_prefix + encode_key(key)
        read = self._read_from_leader if self.is_replicated else self._read_directly
        size = self.expected_answer_bytes
        if not self.read_budget.try_acquire(size):
            await self.read_budget.acquire(size)
        try:
            record = await read(subject)
        finally:
            self.read_budget.release(size)
        self.value_size.observe(len(record.value))
        return record

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        ttl: timedelta | None = None,
        expires_at_ms: int | None = None,
        expected: int | None = None,
    ) -> int:
        """Store the value; return the sequence of its message.

        Args:
            ttl: time to live from now on; None with no `expires_at_ms` either: no expiry.
            expires_at_ms: expiry to keep, instead of `ttl`.
            expected: sequence that the key's last message must have; 0: there must be none;
                None: any.

        Raises:
            VersionConflict: the last message is another one.
            InvalidArgument: the value is over the limit.
        """
        headers: dict[str, str] = {}
        if ttl is not None:
            headers = ttl_headers(ttl)
        elif expires_at_ms is not None:
            headers = expires_at_headers(expires_at_ms, self.clock)
        return await self._publish(key, value, headers, expected)

    async def change_expiry(self, key: str, record: KeyRecord, ttl: timedelta | None) -> None:
        """Store the value of the record again, with another expiry or with none.

        Raises:
            VersionConflict: the record is not the last one any more.
        """
        headers = {} if ttl is None else ttl_headers(ttl)
        headers[EXPIRY_ONLY] = "1"
        await self._publish(key, record.value, headers, record.sequence)

    async def remove(self, key: str, *, expected: int) -> None:
        """Replace the message that has the expected sequence by a tombstone.

        Raises:
            VersionConflict: the last message is another one.
        """
        await self._publish(key, b"", {**TOMBSTONE_HEADERS}, expected)

    async def remove_expired(self, key: str, *, expected: int) -> None:
        """Replace the message by a tombstone that watches report as an expiry.

        Args:
            expected: sequence of the expired message; 0: the server has removed it.

        Raises:
            VersionConflict: the last message is another one.
        """
        await self._publish(key, b"", {**TOMBSTONE_HEADERS, EXPIRED: "1"}, expected)

    async def read_modify_write(
        self, key: str, modify: Callable[[KeyRecord], Awaitable[ResultT]]
    ) -> ResultT:
        """Return what `modify` returns, called until no other writer is in between.

        Within the process, one call at a time for each key: a lost race costs two round trips,
        waiting costs none.

        Args:
            modify: gets the key's last record and writes on condition that it still is the last;
                raises VersionConflict otherwise.

        Raises:
            BackendTimeout: out of time; not applied unless `modify` was running.
        """
        lock = self._key_locks.get(key)
        if lock is None:
            lock = self._key_locks[key] = asyncio.Lock()
        timeout_s = self.connection.timeout_s
        outcome = Outcome.NOT_APPLIED
        try:
            async with asyncio.timeout(timeout_s), lock:
                while True:
                    record = await self._read_before_write(key)
                    outcome = Outcome.UNKNOWN
                    try:
                        return await modify(record)
                    except VersionConflict:
                        outcome = Outcome.NOT_APPLIED
        except TimeoutError:
            raise errors.waited_too_long(self.connection.address, timeout_s, outcome) from None

    async def _read_before_write(self, key: str) -> KeyRecord:
        try:
            return await self.read(key)
        except PrismError as error:
            # The caller asked for a write, and nothing was written yet.
            error.outcome = Outcome.NOT_APPLIED
            raise

    async def _publish(
        self, key: str, value: bytes, headers: dict[str, str], expected: int | None
    ) -> int:
        # The library would send a larger message, and the server would disconnect.
        if len(value) > self.max_value_bytes:
            raise InvalidArgument(
                f"the value has {len(value):,} bytes; the limit is {self.max_value_bytes:,}"
            )
        if expected is not None:
            headers[EXPECTED_SEQUENCE] = str(expected)
        size = len(value)
        self.value_size.observe(size)
        subject = self.key_prefix + encode_key(key)
        if not self._write_budget.try_acquire(size):
            await self._write_budget.acquire(size)
        try:
            answer = await self.connection.request(subject, value, encode_headers(headers))
        finally:
            self._write_budget.release(size)
        try:
            return stored_sequence_in(answer, self.connection.address)
        except ValueError as error:
            raise self.connection.distrust(error) from None

    async def _read_directly(self, subject: str) -> KeyRecord:
        name = f"$JS.API.DIRECT.GET.{self.stream}.{subject}"
        answer = await self.connection.request(name)
        try:
            return record_in_answer(answer)
        except (ValueError, KeyError) as error:
            raise self.connection.distrust(error) from None

    async def _read_from_leader(self, subject: str) -> KeyRecord:
        answer = await self.connection.read_api(
            f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": subject}, absent=errors.NO_MESSAGE
        )
        return ABSENT if answer is None else record_in_message(answer["message"])

    async def _keep_fresh(self) -> None:
        """Follow the server's clock and changes of the leader."""
        while self.connection.is_open:
            await asyncio.sleep(_REFRESH_INTERVAL_S)
            with suppress(PrismError):
                await self.refresh()
