"""Encoding of replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"
ZERO = b":0\r\n"
ONE = b":1\r\n"
EMPTY_ARRAY = b"*0\r\n"
NULL_2 = b"$-1\r\n"
NULL_3 = b"_\r\n"

_SMALL = tuple(b":%d\r\n" % number for number in range(-2, 1024))


def integer(number: int) -> bytes:
    """Return an integer reply."""
    return _SMALL[number + 2] if -2 <= number < 1024 else b":%d\r\n" % number


def bulk(value: bytes) -> bytes:
    """Return a reply of any bytes."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def simple(text: str) -> bytes:
    """Return a reply of one line."""
    return b"+%b\r\n" % text.encode()


def array(replies: Sequence[bytes]) -> bytes:
    """Return an array of replies."""
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def bulks(values: Iterable[bytes]) -> bytes:
    """Return an array of bytes."""
    return array([bulk(value) for value in values])


_LONGEST_ERROR = 16 << 10
"""Characters of an error: it can quote what the client has sent."""


def error(text: str) -> bytes:
    """Return an error; its first word is the prefix that clients look at."""
    line = " ".join(text[:_LONGEST_ERROR].split())
    return b"-%b\r\n" % line.encode("utf-8", "replace")
