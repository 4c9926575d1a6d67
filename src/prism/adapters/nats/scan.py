"""Scans: each page is read from a consumer of the stream.

Keys come in the order of the stream: a key that is written during the scan moves towards its end
and is returned there, perhaps a second time. A cursor names the creation time of the stream and
the sequence to continue from, so that any gateway can continue the scan.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from nats.aio.msg import Msg

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.consumers import NO_MESSAGES, Consumer, Position, status_of
from prism.adapters.nats.encoding import KeyRecord, decode_key, decode_record, prefix_filter
from prism.adapters.nats.errors import NO_MESSAGE, no_responders
from prism.kit import clamp_page_size
from prism.ports import Entry, InvalidArgument, Limits, Page, ScanExpired

_OVERHEAD_BYTES = 16 << 10
"""Allowance for subjects and headers, which the server counts too."""
_KEY_MESSAGE_BYTES = 4096
"""Upper bound on the size of a message without its value."""

_RECORDS_AT_ONCE = 1000
_PAUSES_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


async def scan_page(
    bucket: Bucket, limits: Limits, *, prefix: str, page_size: int, cursor: str, values: bool
) -> Page:
    """Return the page that begins at the cursor.

    Raises:
        InvalidArgument: the cursor is malformed.
        ScanExpired: the bucket was deleted and recreated since the scan began.
    """
    start = _start(bucket, cursor)
    position = Position(bucket.key_prefix + prefix_filter(prefix), not values, start)
    async with bucket.consumers.borrow(position) as consumer:
        return await _read_page(
            bucket, limits, consumer, clamp_page_size(page_size, limits), cursor
        )


async def _read_page(
    bucket: Bucket, limits: Limits, consumer: Consumer, size: int, cursor: str
) -> Page:
    position = consumer.position
    values, start = not position.headers_only, position.sequence
    max_bytes = max(limits.max_batch_bytes, bucket.connection.max_payload) + _OVERHEAD_BYTES
    value_bytes = bucket.expected_answer_bytes if values else 0
    expected_bytes = min(size * (_KEY_MESSAGE_BYTES + value_bytes), max_bytes)
    messages = await consumer.pull(size, max_bytes, expected_bytes)
    if messages is None:
        if cursor:
            await _check_is_in_stream(bucket, start)
        messages = await _create_and_pull(bucket, consumer, size, max_bytes, expected_bytes)
    ending = status_of(messages[-1])
    if ending is not None:
        messages = messages[:-1]
    keys: list[str] = []
    entries: list[Entry] = []
    now_ms, page_bytes, next_start, is_cut = bucket.clock.now_ms(), 0, start, False
    for message in messages:
        key, record = _key_and_record(bucket, message)
        page_bytes += len(message.subject) + len(record.value)
        is_cut = values and next_start > start and page_bytes > limits.max_batch_bytes
        if is_cut:
            break
        next_start = record.sequence + 1
        if key is not None and record.is_alive(now_ms):
            keys.append(key)
            entries.append(record.entry)
    is_end = ending == NO_MESSAGES and not is_cut
    if is_end and bucket.is_replicated:
        is_end = await _is_end_at_leader(bucket, position.subjects, next_start)
    consumer.position = position._replace(sequence=next_start)
    consumer.is_finished = is_end or is_cut
    next_token = "" if is_end else f"{bucket.created}/{next_start}"
    return Page(keys, entries if values else None, next_token)


async def read_records(bucket: Bucket, prefix: str) -> AsyncIterator[tuple[str, KeyRecord]]:
    """Yield key and record, without the value, of each last message under the prefix.

    With replicas a record may be slightly outdated; the newer one then follows.
    """
    position = Position(bucket.key_prefix + prefix_filter(prefix), True, 1)
    size = _RECORDS_AT_ONCE
    max_bytes = size * _KEY_MESSAGE_BYTES
    is_end = False
    while not is_end:
        # Borrowed for one request at a time, so that scans need not wait for all of them.
        async with bucket.consumers.borrow(position) as consumer:
            messages = await consumer.pull(size, max_bytes, max_bytes)
            if messages is None:
                messages = await _create_and_pull(bucket, consumer, size, max_bytes, max_bytes)
            is_end = status_of(messages[-1]) == NO_MESSAGES
            if status_of(messages[-1]) is not None:
                messages = messages[:-1]
            records = [_key_and_record(bucket, message) for message in messages]
            if records:
                position = position._replace(sequence=records[-1][1].sequence + 1)
            if is_end and bucket.is_replicated:
                is_end = await _is_end_at_leader(bucket, position.subjects, position.sequence)
            consumer.position, consumer.is_finished = position, is_end
        for key, record in records:
            if key is not None:
                yield key, record


def _start(bucket: Bucket, cursor: str) -> int:
    """Return the sequence to continue from."""
    if not cursor:
        return 1
    created, _, sequence = cursor.partition("/")
    if not sequence.isascii() or not sequence.isdigit() or len(sequence) > 19:
        raise InvalidArgument("the page token does not come from a NATS bucket")
    if created != bucket.created:
        raise _expired()
    return max(int(sequence), 1)


async def _check_is_in_stream(bucket: Bucket, start: int) -> None:
    """Refuse a sequence that the stream has not reached, which belongs to another stream."""
    created = bucket.created
    info = await bucket.refresh()
    if info["created"] != created or start > info["state"]["last_seq"] + 1:
        raise _expired()


def _expired() -> ScanExpired:
    return ScanExpired(
        "the bucket was deleted and recreated since the scan began: start the scan again"
    )


async def _create_and_pull(
    bucket: Bucket, consumer: Consumer, size: int, max_bytes: int, expected_bytes: int
) -> list[Msg]:
    await consumer.create()
    for pause_s in _PAUSES_S:
        messages = await consumer.pull(size, max_bytes, expected_bytes)
        if messages is not None:
            return messages
        # Another server of the cluster holds it, and does not answer yet.
        await asyncio.sleep(pause_s)
    raise no_responders(bucket.connection.address)


async def _is_end_at_leader(bucket: Bucket, subjects: str, start: int) -> bool:
    """Whether the leader has no more keys either: the consumer's server may be behind it."""
    answer = await bucket.connection.api(
        f"STREAM.MSG.GET.{bucket.stream}",
        {"seq": start, "next_by_subj": subjects},
        absent=NO_MESSAGE,
    )
    return answer is None


def _key_and_record(bucket: Bucket, message: Msg) -> tuple[str | None, KeyRecord]:
    """Return the record in a delivered message, and its key; None: another client's entry."""
    parts = message.reply.split(".")
    # $JS.ACK, then domain and account except from older servers, stream, consumer, count; then:
    at = 5 if len(parts) == 9 else 7
    sequence, written_ns = int(parts[at]), int(parts[at + 2])
    record = decode_record(message.data, message.headers, sequence, -(-written_ns // 1_000_000))
    return decode_key(message.subject.removeprefix(bucket.key_prefix)), record
