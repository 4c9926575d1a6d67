"""Scans: each page is read from a consumer of the stream.

Keys come in the order of the stream: a key that is written during the scan moves towards its end
and is returned there, perhaps a second time. A cursor names the creation time of the stream and
the sequence to continue from, so that any gateway can continue the scan.
"""

from __future__ import annotations

import json
import time
import uuid
from functools import partial
from typing import NamedTuple

from nats.aio.msg import Msg

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.encoding import KeyRecord, decode_key, decode_record, prefix_filter
from prism.adapters.nats.errors import NO_MESSAGE
from prism.kit import clamp_page_size
from prism.ports import Entry, InvalidArgument, Limits, Page, ScanExpired

_STATUS = "Status"
_NO_MESSAGES = "404"
_NO_CONSUMER = "503"

_OVERHEAD_BYTES = 16 << 10
"""Allowance for subjects and headers, which the server counts too."""
_KEY_MESSAGE_BYTES = 4096
"""Upper bound on the size of a message without its value."""

_SERVER_KEEPS_S = 30
"""The server deletes a consumer that is not used for this long."""
_CACHE_KEEPS_S = 20.0
_MAX_CACHED = 256


class ConsumerPosition(NamedTuple):
    """What a consumer delivers next.

    Attributes:
        subjects: filter of the keys.
        headers_only: whether it delivers messages without their values.
        sequence: first sequence that it has not delivered.
    """

    subjects: str
    headers_only: bool
    sequence: int


class ConsumerCache:
    """Consumers that a page left behind for the next page, by their positions.

    To create a consumer, the server counts all keys after its start, which would make a scan of
    many pages quadratic. A consumer that is missing here costs only that.
    """

    def __init__(self) -> None:
        self._consumers: dict[ConsumerPosition, tuple[str, float]] = {}

    def pop(self, position: ConsumerPosition) -> str | None:
        """Remove a consumer at the position and return its name; None: there is none."""
        name, since = self._consumers.pop(position, (None, 0.0))
        return name if time.monotonic() - since < _CACHE_KEEPS_S else None

    def put(self, position: ConsumerPosition, name: str) -> None:
        """Keep the consumer for the page that begins at the position."""
        while len(self._consumers) >= _MAX_CACHED:
            del self._consumers[next(iter(self._consumers))]
        self._consumers[position] = (name, time.monotonic())


async def scan_page(
    bucket: Bucket,
    consumers: ConsumerCache,
    limits: Limits,
    *,
    prefix: str,
    page_size: int,
    cursor: str,
    values: bool,
) -> Page:
    """Return the page that begins at the cursor.

    Raises:
        InvalidArgument: the cursor is malformed.
        ScanExpired: the bucket was deleted and recreated since the scan began.
    """
    start = await _start(bucket, cursor)
    position = ConsumerPosition(bucket.key_prefix + prefix_filter(prefix), not values, start)
    size = clamp_page_size(page_size, limits)
    max_bytes = max(limits.max_batch_bytes, bucket.connection.max_payload) + _OVERHEAD_BYTES
    consumer, messages = await _pull(bucket, consumers, position, size, max_bytes)
    ending = _status(messages[-1])
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
    is_end = ending == _NO_MESSAGES and not is_cut
    if is_end and bucket.is_replicated:
        is_end = await _is_end_at_leader(bucket, position.subjects, next_start)
    if is_end or is_cut:
        bucket.connection.send_unanswered(f"$JS.API.CONSUMER.DELETE.{bucket.stream}.{consumer}")
    else:
        consumers.put(position._replace(sequence=next_start), consumer)
    next_token = "" if is_end else f"{bucket.created}/{next_start}"
    return Page(keys, entries if values else None, next_token)


async def _start(bucket: Bucket, cursor: str) -> int:
    """Return the sequence to continue from."""
    if not cursor:
        return 1
    created, _, sequence = cursor.partition("/")
    if not sequence.isascii() or not sequence.isdigit() or len(sequence) > 19:
        raise InvalidArgument("the page token does not come from a NATS bucket")
    info = await bucket.refresh()
    if created != info["created"] or int(sequence) > info["state"]["last_seq"] + 1:
        raise ScanExpired(
            "the bucket was deleted and recreated since the scan began: start the scan again"
        )
    return max(int(sequence), 1)


async def _pull(
    bucket: Bucket,
    consumers: ConsumerCache,
    position: ConsumerPosition,
    size: int,
    max_bytes: int,
) -> tuple[str, list[Msg]]:
    """Return the name of a consumer, and what it delivers from the position on.

    These are `size` messages, or fewer and a status.
    """
    value_bytes = 0 if position.headers_only else bucket.expected_answer_bytes
    expected_bytes = min(size * (_KEY_MESSAGE_BYTES + value_bytes), max_bytes)
    payload = json.dumps({"batch": size, "no_wait": True, "max_bytes": max_bytes}).encode()

    async def pull(consumer: str) -> list[Msg]:
        left = size

        def is_last(message: Msg) -> bool:
            nonlocal left
            left -= 1
            return left == 0 or _status(message) is not None

        subject = f"$JS.API.CONSUMER.MSG.NEXT.{bucket.stream}.{consumer}"
        request = partial(bucket.connection.pull, subject, payload, is_last)
        return await bucket.read_budget.run(expected_bytes, request)

    consumer = consumers.pop(position) or await _create_consumer(bucket, position)
    messages = await pull(consumer)
    if _status(messages[-1]) == _NO_CONSUMER:
        # The server deleted it.
        consumer = await _create_consumer(bucket, position)
        messages = await pull(consumer)
    return consumer, messages


async def _create_consumer(bucket: Bucket, position: ConsumerPosition) -> str:
    """Create a consumer at the position; return its name."""
    name = uuid.uuid4().hex
    config = {
        "name": name,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": position.sequence,
        "ack_policy": "none",
        "filter_subject": position.subjects,
        "headers_only": position.headers_only,
        "inactive_threshold": _SERVER_KEEPS_S * 1_000_000_000,
        "mem_storage": True,
        "num_replicas": 1,
    }
    await bucket.connection.api(
        f"CONSUMER.CREATE.{bucket.stream}.{name}",
        {"stream_name": bucket.stream, "config": config},
    )
    return name


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


def _status(message: Msg) -> str | None:
    return (message.headers or {}).get(_STATUS)
