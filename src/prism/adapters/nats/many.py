"""Reads of many keys in one request, which the server answers with a message for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from functools import partial

from prism.adapters.nats import keys
from prism.adapters.nats.answers import named_record_in, number_in
from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.exchange import Answer
from prism.adapters.nats.records import HEADERS_BYTES, NOTHING, Record
from prism.ports import Entry

_MOST_KEYS = 1000
"""The server refuses to look for more than 1,024."""

_END = b"204"
_NONE = b"404 No Results"

Subjects = dict[str, str]
"""Keys by their subjects."""


async def read_many(bucket: Bucket, names: Sequence[str], room: int) -> dict[str, Entry | None]:
    """The entries that could be had at once, for the most part all of them.

    One that is left out has to be read by itself: the values before it took more than so
    many bytes, or it was being overwritten. Raises as `Link.request` does.
    """
    # Any replica answers, and may be behind: with replicas the leader is asked, key by key.
    if bucket.is_replicated or len(names) < 2:
        return {}
    most_bytes = bucket.link.max_payload - HEADERS_BYTES
    batches = _batches({bucket.subjects + keys.encode(name): name for name in names}, most_bytes)
    answered = await asyncio.gather(*(_ask(bucket, batch, room) for batch in batches))
    now_ms = bucket.clock.now_ms()
    return {
        name: record.entry_at(now_ms) for records in answered for name, record in records.items()
    }


def _batches(subjects: Subjects, most_bytes: int) -> Iterator[Subjects]:
    """Each fits one request; what fits none is left out."""
    batch: Subjects = {}
    left = most_bytes
    for subject, name in subjects.items():
        # In quotes, and after a comma and a blank.
        size = len(subject) + 4
        if size > most_bytes:
            continue
        if size > left or len(batch) == _MOST_KEYS:
            yield batch
            batch, left = {}, most_bytes
        batch[subject] = name
        left -= size
    if batch:
        yield batch


async def _ask(bucket: Bucket, subjects: Subjects, room: int) -> dict[str, Record]:
    request = json.dumps({"multi_last": list(subjects), "max_bytes": room}).encode()
    name = f"$JS.API.DIRECT.GET.{bucket.stream}"
    expected = min(len(subjects) * bucket.answer_bytes, room)
    *found, end = await bucket.answers.within(
        expected, partial(bucket.link.answers, name, request, _is_last)
    )
    records: dict[str, Record] = {}
    if _is_complete(found, end):
        records = dict.fromkeys(subjects.values(), NOTHING)
    for answer in found:
        subject, record = named_record_in(answer)
        bucket.sizes.note(len(record.value))
        records[subjects[subject]] = record
    return records


def _is_last(answer: Answer) -> bool:
    return bool(answer.status)


def _is_complete(found: Sequence[Answer], end: Answer) -> bool:
    """Whether all that was there has come, so that what did not come is absent."""
    if not found:
        return _NONE in end.headers
    following = number_in(found[0], b"Nats-Num-Pending")
    return end.status == _END and len(found) == following + 1
