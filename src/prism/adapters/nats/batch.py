"""Batches: all keys at once, but operations on the same key in the order of the request."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar, cast

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.encoding import (
    ABSENT,
    HEADERS_BYTES,
    KeyRecord,
    encode_key,
    number_in_header,
    subject_and_record_in,
)
from prism.adapters.nats.requests import Answer
from prism.kit import ReplyBudget
from prism.ports import Entry, PrismError

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

_MAX_KEYS = 1000
"""Keys in one request; the server refuses more than 1,024."""
_MAX_SINGLE_READS = 100
"""Reads of single keys at once, whose values may not fit the reply any more."""

_END_STATUS = b"204"
_NO_RESULTS = b"404 No Results"


async def for_each(
    items: Sequence[ItemT],
    key_of: Callable[[ItemT], str],
    operate: Callable[[ItemT], Awaitable[OutcomeT]],
) -> list[OutcomeT | PrismError]:
    """Return the outcome of `operate` for each item, or its error, in the order of the items."""
    outcomes = cast("list[OutcomeT | PrismError]", [None] * len(items))
    positions_by_key: defaultdict[str, list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        positions_by_key[key_of(item)].append(position)

    async def operate_in_order(positions: Sequence[int]) -> None:
        for position in positions:
            try:
                outcomes[position] = await operate(items[position])
            except PrismError as error:
                outcomes[position] = error

    async with asyncio.TaskGroup() as group:
        for positions in positions_by_key.values():
            group.create_task(operate_in_order(positions))
    return outcomes


async def get_many(
    bucket: Bucket,
    keys: Sequence[str],
    get: Callable[[str], Awaitable[Entry | None]],
    max_bytes: int,
) -> list[Entry | PrismError | None]:
    """Return the entries of the keys, as far as their values fit.

    Args:
        get: reads a key that could not be read together with others.
        max_bytes: bound on the values of the reply together.
    """
    found = await _read_together(bucket, keys, max_bytes)
    budget = ReplyBudget(max_bytes)
    outcomes: list[Entry | PrismError | None] = []
    for start in range(0, len(keys), _MAX_SINGLE_READS):
        wanted = keys[start : start + _MAX_SINGLE_READS]
        missing = [key for key in wanted if key not in found]
        read = dict(zip(missing, await for_each(missing, str, get), strict=True))
        outcomes += budget.limit(found[key] if key in found else read[key] for key in wanted)
    return outcomes


async def _read_together(
    bucket: Bucket, keys: Sequence[str], max_bytes: int
) -> dict[str, Entry | None]:
    """Return what one request for many keys finds, which usually is the entries of all of them.

    The result lacks keys whose values exceed `max_bytes` together with those before them, and keys
    that were being overwritten.
    """
    # Any replica answers, and may be behind: with replicas the leader is asked for each key.
    if bucket.is_replicated or len(keys) < 2:
        return {}
    max_request_bytes = bucket.connection.max_payload - HEADERS_BYTES
    parts = _parts({bucket.key_prefix + encode_key(key): key for key in keys}, max_request_bytes)
    records = await asyncio.gather(*(_read_part(bucket, part, max_bytes) for part in parts))
    now_ms = bucket.clock.now_ms()
    return {key: record.entry_at(now_ms) for part in records for key, record in part.items()}


def _parts(keys_by_subject: dict[str, str], max_bytes: int) -> Iterator[dict[str, str]]:
    """Divide the keys into requests; leave out a key that does not fit any."""
    part: dict[str, str] = {}
    left = max_bytes
    for subject, key in keys_by_subject.items():
        # In JSON: two quotes, a comma, a space.
        size = len(subject) + 4
        if size > max_bytes:
            continue
        if size > left or len(part) == _MAX_KEYS:
            yield part
            part, left = {}, max_bytes
        part[subject] = key
        left -= size
    if part:
        yield part


async def _read_part(
    bucket: Bucket, keys_by_subject: dict[str, str], max_bytes: int
) -> dict[str, KeyRecord]:
    payload = json.dumps({"multi_last": list(keys_by_subject), "max_bytes": max_bytes}).encode()
    name = f"$JS.API.DIRECT.GET.{bucket.stream}"
    expected_bytes = min(len(keys_by_subject) * bucket.expected_answer_bytes, max_bytes)
    *found, end = await bucket.read_budget.run(
        expected_bytes,
        lambda: bucket.connection.request_many(name, payload, lambda answer: bool(answer.status)),
    )
    records: dict[str, KeyRecord] = {}
    if _is_complete(found, end):
        records = dict.fromkeys(keys_by_subject.values(), ABSENT)
    for answer in found:
        subject, record = subject_and_record_in(answer)
        bucket.value_size.observe(len(record.value))
        records[keys_by_subject[subject]] = record
    return records


def _is_complete(found: Sequence[Answer], end: Answer) -> bool:
    """Whether the server sent all it had, so that a key without an answer is absent."""
    if not found:
        return _NO_RESULTS in end.headers
    following = number_in_header(found[0], b"Nats-Num-Pending")
    return end.status == _END_STATUS and len(found) == following + 1
