"""Messages of the bucket, read and written; keys are text here, and subjects below."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from prism.adapters.nats import keys
from prism.adapters.nats.answers import record_in, sequence_in
from prism.adapters.nats.clock import ServerClock
from prism.adapters.nats.consumers import Consumers
from prism.adapters.nats.failures import NO_MESSAGE, STREAM_NOT_FOUND, ApiError, translated
from prism.adapters.nats.link import Link
from prism.adapters.nats.records import (
    EXPECTED_SEQUENCE,
    EXPIRES_AT_MS,
    HEADERS_BYTES,
    NOTHING,
    OPERATION,
    RETIMED,
    ROLLUP,
    SERVER_TTL,
    TTL_MS,
    Record,
    epoch_ms,
    header_block,
    headers_of,
    record_of,
    seconds_since_epoch,
)
from prism.adapters.nats.room import MOST_ANSWERED, MOST_PUBLISHED, Room, Sizes
from prism.adapters.nats.settings import NatsSettings
from prism.adapters.nats.stream import (
    TOMBSTONE_SECONDS,
    event_prefix,
    open_stream,
    stream_name,
    subject_prefix,
)
from prism.ports import InvalidArgument, PrismError

CLOCK_ERROR_S = 0.05
"""What the reading of the server's clock is brought down to, where the network permits."""

_CLOCK_TRIES = 20
_REFRESH_SECONDS = 5.0


class Bucket:
    """A bucket over one link: what it says holds until that ends."""

    def __init__(self, link: Link, settings: NatsSettings, sizes: Sizes) -> None:
        self.link = link
        self.name = settings.bucket
        self.stream = stream_name(settings.bucket)
        self.subjects = subject_prefix(settings.bucket)
        self.events = event_prefix(settings.bucket)
        self.is_replicated = settings.replicas > 1
        self.clock = ServerClock()
        self.consumers = Consumers()
        self.sizes = sizes
        self.answers = Room(MOST_ANSWERED, link)
        self._published = Room(MOST_PUBLISHED, link)
        self.max_message_bytes = link.max_payload
        self.created = ""
        self.leader = ""
        self._when_led_anew: set[Callable[[str], None]] = set()

    @classmethod
    async def open(cls, link: Link, settings: NatsSettings, sizes: Sizes) -> Bucket:
        """Make or check the bucket, and read the server's clock.

        Raises:
            PrismError: as `open_stream` does.
        """
        bucket = cls(link, settings, sizes)
        described = await open_stream(link, settings)
        limit = described["config"].get("max_msg_size", -1)
        if limit > 0:
            bucket.max_message_bytes = min(limit, link.max_payload)
        for _ in range(_CLOCK_TRIES):
            await bucket.describe()
            if bucket.clock.error < CLOCK_ERROR_S / 2:
                break
        refreshing = asyncio.get_running_loop().create_task(bucket._refresh())

        def stop(_reason: str) -> None:
            refreshing.cancel()

        link.when_lost(stop)
        return bucket

    @property
    def max_value_bytes(self) -> int:
        return self.max_message_bytes - HEADERS_BYTES

    @property
    def answer_bytes(self) -> int:
        """Of one value on its way back, as is to be expected; in base64 at worst."""
        return int(self.sizes.expected * 4 / 3) + HEADERS_BYTES

    async def describe(self) -> dict[str, Any]:
        """The stream's state as its leader sees it, which is also a look at its clock."""
        asked = time.monotonic()
        try:
            described = await self.link.api(f"STREAM.INFO.{self.stream}")
        except ApiError as error:
            if error.number == STREAM_NOT_FOUND:
                self.link.give_up("the bucket was deleted")
            raise translated(error, self.link.address) from None
        if self.created and described["created"] != self.created:
            # Maybe otherwise than we need it.
            self.link.give_up("the bucket was made anew")
        self.clock.observe(asked, seconds_since_epoch(described["ts"]), time.monotonic())
        self.created = described["created"]
        state = described["state"]
        self.sizes.at_least(state["bytes"] / max(state["messages"], 1))
        leader = (described.get("cluster") or {}).get("leader", "")
        if leader and self.leader and leader != self.leader:
            for callback in tuple(self._when_led_anew):
                callback("another server leads the bucket")
        self.leader = leader or self.leader
        return described

    @contextmanager
    def when_led_anew(self, callback: Callable[[str], None]) -> Iterator[None]:
        """Within, have it called with the reason when another server takes the lead."""
        self._when_led_anew.add(callback)
        try:
            yield
        finally:
            self._when_led_anew.discard(callback)

    async def api(self, name: str, request: Any = None) -> dict[str, Any]:
        """The answer of JetStream's API, or the error in it as ours."""
        try:
            return await self.link.api(name, request)
        except ApiError as error:
            raise translated(error, self.link.address) from None

    async def read(self, key: str) -> Record:
        """The last message under the key."""
        subject = self.subjects + keys.encode(key)
        read = self._read_from_leader if self.is_replicated else self._read_directly
        size = self.answer_bytes
        if not self.answers.takes(size):
            await self.answers.turn(size)
        try:
            record = await read(subject)
        finally:
            self.answers.give_back(size)
        self.sizes.note(len(record.value))
        return record

    async def _read_directly(self, subject: str) -> Record:
        return record_in(await self.link.request(f"$JS.API.DIRECT.GET.{self.stream}.{subject}"))

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        ttl_ms: int | None = None,
        expires_at_ms: int | None = None,
        expected: int | None = None,
        retimed: bool = False,
    ) -> int:
        """Store the value; its sequence.

        Args:
            ttl_ms: to live from now on, by the server's clock.
            expires_at_ms: in its place: when a life ends that began before.
            expected: sequence of the key's last message; 0: there is none.
            retimed: the value is the one before.

        Raises:
            VersionConflict: another message is the last.
            InvalidArgument: the value is over the limit.
        """
        headers: dict[str, str] = {}
        if ttl_ms is not None:
            headers[SERVER_TTL] = str(-(-ttl_ms // 1000))
            headers[TTL_MS] = str(ttl_ms)
        elif expires_at_ms is not None:
            # At least until then, by a clock that is only estimated.
            left_ms = expires_at_ms - self.clock.now_ms() + int(self.clock.error * 1000) + 1
            headers[SERVER_TTL] = str(max(-(-left_ms // 1000), 1))
            headers[EXPIRES_AT_MS] = str(expires_at_ms)
        if retimed:
            headers[RETIMED] = "1"
        return await self._publish(key, value, headers, expected)

    async def remove(self, key: str, *, expected: int) -> None:
        """Put a tombstone in the place of the message with that sequence.

        Raises:
            VersionConflict: another message is the last.
        """
        headers = {OPERATION: "PURGE", ROLLUP: "sub", SERVER_TTL: str(TOMBSTONE_SECONDS)}
        await self._publish(key, b"", headers, expected)

    async def _publish(
        self, key: str, value: bytes, headers: dict[str, str], expected: int | None
    ) -> int:
        # The server hangs up on one byte more, whatever the library lets through.
        if len(value) > self.max_value_bytes:
            raise InvalidArgument(
                f"the value has {len(value):,} bytes; the limit is {self.max_value_bytes:,}"
            )
        if expected is not None:
            headers[EXPECTED_SEQUENCE] = str(expected)
        self.sizes.note(len(value))
        subject = self.subjects + keys.encode(key)
        size = len(value)
        if not self._published.takes(size):
            await self._published.turn(size)
        try:
            answer = await self.link.request(subject, value, header_block(headers))
        finally:
            self._published.give_back(size)
        try:
            return sequence_in(answer)
        except ApiError as error:
            raise translated(error, self.link.address) from None

    async def _read_from_leader(self, subject: str) -> Record:
        try:
            answer = await self.link.api(f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": subject})
        except ApiError as error:
            if error.number == NO_MESSAGE:
                return NOTHING
            raise translated(error, self.link.address) from None
        stored = answer["message"]
        return record_of(
            base64.b64decode(stored.get("data", "")),
            headers_of(base64.b64decode(stored.get("hdrs", ""))),
            stored["seq"],
            epoch_ms(stored["time"]),
        )

    async def _refresh(self) -> None:
        """Follow the server's clock, and who leads."""
        while self.link.is_open:
            await asyncio.sleep(_REFRESH_SECONDS)
            with suppress(PrismError):
                await self.describe()
