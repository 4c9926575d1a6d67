"""Encoding of the bucket: keys as subjects, entries as messages with headers.

Each byte of a key is a token of two hex digits, and a last token that no byte has ends the key:
`ab` is `61.62.=`. The subject filter `61.>` then matches every key that begins with `a`,
including `a` itself, so that the server does the filtering.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import NamedTuple, NotRequired, TypedDict

from prism.adapters.nats.errors import is_expected_of_a_write, translate
from prism.adapters.nats.expiry import SERVER_TTL, epoch_ms, expiry_in
from prism.adapters.nats.requests import Answer
from prism.ports import MAX_KEY_BYTES, Entry, Version

EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
MARKER_REASON = "Nats-Marker-Reason"
OPERATION = "KV-Operation"

TOMBSTONE_S = 60
"""Time for which a deleted or expired key leaves a small message behind."""

TOMBSTONE_HEADERS = {OPERATION: "PURGE", "Nats-Rollup": "sub", SERVER_TTL: str(TOMBSTONE_S)}

EXPIRY_ONLY = "Prism-Retimed"
"""The message changes the expiry of the key and not its value: watches do not report it."""

EXPIRED = "Prism-Expired"
"""The tombstone replaces a key that expired, and not one that was deleted."""

HEADERS_BYTES = 512
"""Upper bound on the size of the headers of one message."""

_KEY_END = ".="
_MAX_ENCODED_KEY = 3 * MAX_KEY_BYTES + len(_KEY_END)

# Most answers match these patterns, which is faster than parsing all headers, or JSON.
_WITHOUT_OWN_HEADERS = re.compile(
    rb"NATS/1\.0\r\nNats-Stream: [^\r]*\r\nNats-Subject: ([^\r]*)\r\nNats-Sequence: (\d+)\r\n"
    rb"Nats-Time-Stamp: [^\r]*\r\n(?:Nats-Num-Pending: \d+\r\nNats-Last-Sequence: \d+\r\n)?\r\n"
)
_STORED = re.compile(rb'\{"stream":"[^"\\]*", ?"seq":(\d+)\}')

Headers = Mapping[str, str]


class StoredMessage(TypedDict):
    """Message in an answer of JetStream's API; `hdrs` and `data` are base64."""

    seq: int
    time: str
    hdrs: NotRequired[str]
    data: NotRequired[str]


def encode_key(key: str) -> str:
    """Return the key as subject tokens: three characters for each byte, and one more."""
    return key.encode().hex(".") + _KEY_END


def decode_key(tokens: str) -> str | None:
    """Return the key, or None when `encode_key` does not produce these tokens."""
    encoded = tokens.removesuffix(_KEY_END)
    if encoded == tokens or len(tokens) > _MAX_ENCODED_KEY:
        return None
    try:
        raw = bytes.fromhex(encoded.replace(".", ""))
        key = raw.decode()
    except ValueError:
        return None
    return key if key and raw.hex(".") == encoded else None


def prefix_filter(prefix: str) -> str:
    """Return the subject filter for the keys that begin with the literal prefix."""
    return f"{prefix.encode().hex('.')}.>" if prefix else ">"


def encode_version(sequence: int, *, expires: bool) -> Version:
    """Return the version of a message.

    The lowest bit says whether the key expires: a conditional write on such a key reads it first.
    """
    return Version(sequence << 1 | expires)


def decode_version(version: Version) -> tuple[int, bool]:
    """Return the sequence, and whether the key expires."""
    return version >> 1, bool(version & 1)


class KeyRecord(NamedTuple):
    """Last message of a key.

    Attributes:
        sequence: sequence of the message in the stream; 0: the key has no message.
        exists: False for a tombstone and for a marker that the server left.
        expires_at_ms: expiry in milliseconds since the Unix epoch, by the server's clock;
            None: the key does not expire.
    """

    value: bytes
    sequence: int
    exists: bool
    expires_at_ms: int | None

    def is_alive(self, now_ms: int) -> bool:
        """Whether the key exists at that time."""
        return self.exists and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    @property
    def version(self) -> Version:
        return encode_version(self.sequence, expires=self.expires_at_ms is not None)

    @property
    def entry(self) -> Entry:
        return Entry(self.value, self.version, self.expires_at_ms)

    def entry_at(self, now_ms: int) -> Entry | None:
        """Return the entry, or None when the key does not exist at that time."""
        return self.entry if self.is_alive(now_ms) else None


_NOT_FOUND = b"404"

ABSENT = KeyRecord(b"", 0, False, None)


def decode_record(
    value: bytes, headers: Headers | None, sequence: int, written_ms: int
) -> KeyRecord:
    """Return the record in a message.

    Args:
        written_ms: the server's timestamp of the message, in milliseconds, rounded up.
    """
    if not headers:
        return KeyRecord(value, sequence, True, None)
    exists = OPERATION not in headers and MARKER_REASON not in headers
    return KeyRecord(value, sequence, exists, expiry_in(headers, written_ms))


def record_in_answer(answer: Answer) -> KeyRecord:
    """Return the record that a direct get is answered with.

    Raises:
        ValueError: the answer is none that a read of Prism can cause.
    """
    if not answer.status:
        return subject_and_record_in(answer)[1]
    if answer.status != _NOT_FOUND:
        raise ValueError(answer.headers.partition(b"\r\n")[0].decode(errors="replace"))
    return ABSENT


def subject_and_record_in(answer: Answer) -> tuple[str, KeyRecord]:
    """Return subject and record of a message that a direct get found."""
    plain = _WITHOUT_OWN_HEADERS.fullmatch(answer.headers)
    if plain is not None:
        return plain[1].decode(), KeyRecord(answer.data, int(plain[2]), True, None)
    headers = decode_headers(answer.headers)
    sequence, written_ms = int(headers["Nats-Sequence"]), epoch_ms(headers["Nats-Time-Stamp"])
    return headers["Nats-Subject"], decode_record(answer.data, headers, sequence, written_ms)


def record_in_message(message: StoredMessage) -> KeyRecord:
    """Return the record in a message that JetStream's API answered with."""
    return decode_record(
        base64.b64decode(message.get("data", "")),
        decode_headers(base64.b64decode(message.get("hdrs", ""))),
        message["seq"],
        epoch_ms(message["time"]),
    )


def stored_sequence_in(answer: Answer, address: str) -> int:
    """Return the sequence of the message that a write stored.

    Raises:
        PrismError: the server at that address did not store the message.
        ValueError: the answer is none that a write of Prism can cause.
    """
    stored = _STORED.fullmatch(answer.data)
    if stored is not None:
        return int(stored[1])
    fields = json.loads(answer.data)
    if not isinstance(fields, dict) or not ("error" in fields or "seq" in fields):
        raise ValueError("not the answer to a write")
    if "error" not in fields:
        return int(fields["seq"])
    if not is_expected_of_a_write(fields["error"]):
        raise ValueError(fields["error"].get("description"))
    raise translate(fields["error"], address)


def number_in_header(answer: Answer, name: bytes) -> int:
    """Return the number in a header that the server set."""
    return int(answer.headers.rpartition(b"\r\n%b: " % name)[2].partition(b"\r\n")[0])


def encode_headers(headers: Headers) -> bytes:
    """Return the headers as they precede the data of a message; empty without headers."""
    if not headers:
        return b""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def decode_headers(block: bytes) -> dict[str, str]:
    """Return the headers in a block whose first line is the protocol version."""
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}
