"""The rules for keys, prefixes, ttls and numbers: one place, before any driver."""

from __future__ import annotations

from datetime import timedelta

from prism.ports import INT64_MAX, INT64_MIN, MAX_KEY_BYTES, MAX_TTL, InvalidArgument

_NO_TIME = timedelta()


def check_key(key: str) -> int:
    """The key's size in bytes of UTF-8, when it is a valid key."""
    size = _utf8_size("key", key)
    if size == 0:
        raise InvalidArgument("the key is empty; a key is 1 to 1,024 bytes of UTF-8")
    return size


def check_prefix(prefix: str) -> None:
    """A prefix is a key cut anywhere between two characters, or empty."""
    _utf8_size("prefix", prefix)


def _utf8_size(what: str, text: str) -> int:
    # isascii() reads a flag of the string; most keys need no encoding.
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"the {what} is not text: lone surrogate U+{ord(text[error.start]):04X} "
                f"at character {error.start}"
            ) from None
    if size > MAX_KEY_BYTES:
        raise InvalidArgument(
            f"the {what} has {size:,} bytes of UTF-8; the limit is {MAX_KEY_BYTES:,}"
        )
    return size


def check_value(value: bytes, limit: int) -> int:
    """The value's size in bytes, when it is within the limit."""
    size = len(value)
    if size > limit:
        raise InvalidArgument(f"the value has {size:,} bytes; the limit is {limit:,}")
    return size


def check_ttl(ttl: timedelta) -> None:
    """A ttl is above zero and at most 100 years."""
    if not _NO_TIME < ttl <= MAX_TTL:
        raise InvalidArgument(
            f"the ttl is {ttl.total_seconds():,.10g} s; it must be above zero and at most 100 years"
        )


def check_delta(delta: int) -> None:
    """A delta is a signed 64-bit integer."""
    if not INT64_MIN <= delta <= INT64_MAX:
        raise InvalidArgument(f"the delta {delta} is not a signed 64-bit integer")
