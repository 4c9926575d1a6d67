"""What the server's answers mean: a record, or the sequence of a write."""

from __future__ import annotations

import json
import re

from prism.adapters.nats.exchange import Answer
from prism.adapters.nats.failures import ApiError
from prism.adapters.nats.records import NOTHING, Record, epoch_ms, headers_of, record_of

# What most messages look like is read off without taking all of it apart.
_PLAIN = re.compile(
    rb"NATS/1\.0\r\nNats-Stream: [^\r]*\r\nNats-Subject: ([^\r]*)\r\nNats-Sequence: (\d+)\r\n"
    rb"Nats-Time-Stamp: [^\r]*\r\n(?:Nats-Num-Pending: \d+\r\nNats-Last-Sequence: \d+\r\n)?\r\n"
)
"""A message that was stored without headers of its own, so without a ttl."""

_STORED = re.compile(rb'\{"stream":"[^"\\]*", ?"seq":(\d+)\}')


def record_in(answer: Answer) -> Record:
    """The record that a direct get is answered with."""
    return NOTHING if answer.status else named_record_in(answer)[1]


def named_record_in(answer: Answer) -> tuple[str, Record]:
    """Subject and record of a message that a direct get found."""
    plain = _PLAIN.fullmatch(answer.headers)
    if plain is not None:
        return plain[1].decode(), Record(answer.data, int(plain[2]), True, None)
    headers = headers_of(answer.headers)
    sequence, written_ms = int(headers["Nats-Sequence"]), epoch_ms(headers["Nats-Time-Stamp"])
    return headers["Nats-Subject"], record_of(answer.data, headers, sequence, written_ms)


def number_in(answer: Answer, name: bytes) -> int:
    """The number in a header that the server has set."""
    return int(answer.headers.rpartition(b"\r\n%b: " % name)[2].partition(b"\r\n")[0])


def sequence_in(answer: Answer) -> int:
    """The sequence that a write was stored at; raises ApiError when it was not."""
    stored = _STORED.fullmatch(answer.data)
    if stored is not None:
        return int(stored[1])
    fields = json.loads(answer.data)
    if "error" in fields:
        raise ApiError(fields["error"])
    return int(fields["seq"])
