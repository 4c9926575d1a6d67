"""One page of a scan, out of a consumer.

The order is that of the stream: a key that is written during the scan moves ahead of
it, and is returned again or then. A cursor is the sequence to go on from, which any
gateway understands, and the time at which the stream was made.
"""

from __future__ import annotations

import json
import uuid
from functools import partial

from nats.aio.msg import Msg

from prism.adapters.nats import keys
from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.consumers import ABANDONED_AFTER_S, Place
from prism.adapters.nats.failures import NO_MESSAGE, ApiError, translated
from prism.adapters.nats.records import Record, record_of
from prism.ports import Entry, InvalidArgument, Limits, Page, ScanExpired

DEFAULT_PAGE_SIZE = 100

_STATUS = "Status"
_NO_MESSAGES = "404"
_NO_CONSUMER = "503"
_OVERHEAD_BYTES = 16 << 10
"""Subject, headers and the like, which the server counts as well."""
_MOST_BYTES_OF_A_NAME = 4096


async def page(
    bucket: Bucket, limits: Limits, *, prefix: str, page_size: int, cursor: str, values: bool
) -> Page:
    """The keys from the cursor on, in the order they were written.

    Raises:
        InvalidArgument: the cursor is none of ours.
        ScanExpired: the stream is another one than the scan began on.
    """
    place = Place(
        bucket.subjects + keys.subjects_under(prefix), not values, await _start(bucket, cursor)
    )
    size = min(page_size or DEFAULT_PAGE_SIZE, limits.max_page_size)
    room = max(limits.max_batch_bytes, bucket.link.max_payload) + _OVERHEAD_BYTES
    consumer = bucket.consumers.take(place)
    ask = partial(_next, bucket, size=size, room=room)
    expected = min(size * (_MOST_BYTES_OF_A_NAME + values * bucket.answer_bytes), room)
    messages = await bucket.answers.within(expected, partial(ask, consumer)) if consumer else None
    if consumer is None or messages is None:
        consumer = await _create(bucket, place)
        messages = await bucket.answers.within(expected, partial(ask, consumer)) or []
    ending = _status(messages[-1]) if messages else None
    if ending is not None:
        messages = messages[:-1]
    names: list[str] = []
    entries: list[Entry] = []
    now_ms, room_taken, next_start, is_cut = bucket.clock.now_ms(), 0, place.sequence, False
    for message in messages:
        key, record = _read(bucket, message)
        room_taken += len(message.subject) + len(record.value)
        is_cut = values and next_start > place.sequence and room_taken > limits.max_batch_bytes
        if is_cut:
            break
        next_start = record.sequence + 1
        if key is not None and record.is_alive(now_ms):
            names.append(key)
            entries.append(record.entry)
    is_end = ending == _NO_MESSAGES and not is_cut
    if is_end and bucket.is_replicated:
        is_end = await _is_end(bucket, place.subjects, next_start)
    if is_end or is_cut:
        await bucket.link.tell(f"$JS.API.CONSUMER.DELETE.{bucket.stream}.{consumer}")
    else:
        bucket.consumers.keep(place._replace(sequence=next_start), consumer)
    token = "" if is_end else f"{bucket.created}/{next_start}"
    return Page(names, entries if values else None, token)


async def _start(bucket: Bucket, cursor: str) -> int:
    if not cursor:
        return 1
    created, _, sequence = cursor.partition("/")
    if not sequence.isascii() or not sequence.isdigit() or len(sequence) > 19:
        raise InvalidArgument("the page token is not one of a NATS bucket")
    described = await bucket.describe()
    last = described["state"]["last_seq"]
    if created != described["created"] or int(sequence) > last + 1:
        raise ScanExpired("the bucket was made anew since the scan began: start it again")
    return max(int(sequence), 1)


async def _create(bucket: Bucket, place: Place) -> str:
    """A consumer at the place; its name."""
    name = uuid.uuid4().hex
    await bucket.api(
        f"CONSUMER.CREATE.{bucket.stream}.{name}",
        {
            "stream_name": bucket.stream,
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": place.sequence,
                "ack_policy": "none",
                "filter_subject": place.subjects,
                "headers_only": place.headers_only,
                "inactive_threshold": ABANDONED_AFTER_S * 1_000_000_000,
                "mem_storage": True,
                "num_replicas": 1,
            },
        },
    )
    return name


async def _next(bucket: Bucket, consumer: str, *, size: int, room: int) -> list[Msg] | None:
    """So many messages, or fewer and a status that says why; None: the consumer is gone."""
    left = size

    def is_last(message: Msg) -> bool:
        nonlocal left
        left -= 1
        return left == 0 or _status(message) is not None

    messages = await bucket.link.deliveries(
        f"$JS.API.CONSUMER.MSG.NEXT.{bucket.stream}.{consumer}",
        json.dumps({"batch": size, "no_wait": True, "max_bytes": room}).encode(),
        is_last,
    )
    return None if _status(messages[-1]) == _NO_CONSUMER else messages


async def _is_end(bucket: Bucket, subjects: str, start: int) -> bool:
    """Whether the leader has no more either: the consumer may be on a server behind it."""
    try:
        await bucket.link.api(
            f"STREAM.MSG.GET.{bucket.stream}",
            {"seq": start, "next_by_subj": subjects},
        )
    except ApiError as error:
        if error.number == NO_MESSAGE:
            return True
        raise translated(error, bucket.link.address) from None
    return False


def _read(bucket: Bucket, message: Msg) -> tuple[str | None, Record]:
    """Key and record of a delivered message."""
    parts = message.reply.split(".")
    # $JS.ACK, domain and account unless of old, stream, consumer, count, then:
    at = 5 if len(parts) == 9 else 7
    sequence, written_ns = int(parts[at]), int(parts[at + 2])
    record = record_of(message.data, message.headers, sequence, -(-written_ns // 1_000_000))
    return keys.decode(message.subject.removeprefix(bucket.subjects)), record


def _status(message: Msg) -> str | None:
    return (message.headers or {}).get(_STATUS)
