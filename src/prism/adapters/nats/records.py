"""What a message of the bucket says: a value, when it ends, or that there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from prism.ports import Entry, Version

EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
MARKER_REASON = "Nats-Marker-Reason"
OPERATION = "KV-Operation"
ROLLUP = "Nats-Rollup"
SERVER_TTL = "Nats-TTL"

TTL_MS = "Prism-TTL"
"""Milliseconds to live from the message's own timestamp, which is the server's."""

EXPIRES_AT_MS = "Prism-Expires-At"
"""Milliseconds since the Unix epoch: of a life that an earlier message began."""

RETIMED = "Prism-Retimed"
"""The message differs from the one before in its expiry alone, and is no event."""

HEADERS_BYTES = 512
"""More than the headers of any message of ours take."""

_GO_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)(?:\.\d+)?s)?")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")

Headers = Mapping[str, str]


class Record(NamedTuple):
    """The last message under a key.

    Attributes:
        sequence: of the message in its stream, for a write to depend on; 0: there is none.
        exists: False of a tombstone, and of a marker that the server left.
        expires_at_ms: by the server's clock; None: never.
    """

    value: bytes
    sequence: int
    exists: bool
    expires_at_ms: int | None

    def is_alive(self, now_ms: int) -> bool:
        """Whether the key exists: the server removes it up to a second after its expiry."""
        return self.exists and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    @property
    def version(self) -> Version:
        return version_of(self.sequence, expires=self.expires_at_ms is not None)

    @property
    def entry(self) -> Entry:
        return Entry(self.value, self.version, self.expires_at_ms)

    def entry_at(self, now_ms: int) -> Entry | None:
        """What a caller gets to see then."""
        return self.entry if self.is_alive(now_ms) else None


NOTHING = Record(b"", 0, False, None)


def version_of(sequence: int, *, expires: bool) -> Version:
    """The sequence, and in the lowest bit whether a write must look at the expiry first."""
    return Version(sequence << 1 | expires)


def sequence_of(version: Version) -> tuple[int, bool]:
    """What `version_of` put into the version."""
    return version >> 1, bool(version & 1)


def record_of(value: bytes, headers: Headers | None, sequence: int, written_ms: int) -> Record:
    """The record in a message that the server stored at `written_ms`, rounded up."""
    if not headers:
        return Record(value, sequence, True, None)
    exists = OPERATION not in headers and MARKER_REASON not in headers
    return Record(value, sequence, exists, _expiry(headers, written_ms))


def header_block(headers: Headers) -> bytes:
    """The headers as they go with a message; empty for none."""
    if not headers:
        return b""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def headers_of(block: bytes) -> dict[str, str]:
    """The headers of a message as they are stored: a line each, after one that names them."""
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_expiry(headers: Headers) -> bool:
    """Whether the message ends by itself."""
    return _expiry(headers, 0) is not None


def milliseconds(ttl: timedelta) -> int:
    """The ttl, rounded up."""
    return -(-ttl // timedelta(milliseconds=1))


def epoch_ms(timestamp: str) -> int:
    """Milliseconds since the Unix epoch, rounded up so that nothing ends early."""
    # The digits beyond microseconds are cut off on reading.
    return milliseconds(_since_epoch(timestamp) + timedelta(microseconds=1))


def seconds_since_epoch(timestamp: str) -> float:
    """Of a timestamp as the server writes it."""
    return _since_epoch(timestamp).total_seconds()


def _since_epoch(timestamp: str) -> timedelta:
    return datetime.fromisoformat(timestamp) - _EPOCH


def _expiry(headers: Headers, written_ms: int) -> int | None:
    if at := _number(headers.get(EXPIRES_AT_MS)):
        return at
    if ttl := _number(headers.get(TTL_MS)):
        return written_ms + ttl
    # Another client's: whole seconds, as a number or as Go writes a duration.
    text = headers.get(SERVER_TTL, "")
    if seconds := _number(text):
        return written_ms + seconds * 1000
    if text and (match := _GO_DURATION.fullmatch(text)):
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return written_ms + ((hours * 60 + minutes) * 60 + seconds) * 1000
    return None


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
