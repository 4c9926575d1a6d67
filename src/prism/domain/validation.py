"""Rules for keys, prefixes, values, ttls and deltas, checked before a driver is called."""

from __future__ import annotations

from datetime import timedelta

from prism.ports import INT64_MAX, INT64_MIN, MAX_KEY_BYTES, MAX_TTL, InvalidArgument

_ZERO = timedelta()


def check_key(key: str) -> int:
    """Return the size of a key in bytes of UTF-8; raise `InvalidArgument` if it is not valid."""
    # isascii() reads a flag of the string, so most keys need not be encoded.
    size = len(key) if key.isascii() else _utf8_size("key", key)
    if size == 0:
        raise InvalidArgument("the key is empty; a key is 1 to 1,024 bytes of UTF-8")
    if size > MAX_KEY_BYTES:
        raise _too_long("key", size)
    return size


def check_prefix(prefix: str) -> None:
    """Raise `InvalidArgument` unless the prefix is empty or could begin a key."""
    size = _utf8_size("prefix", prefix)
    if size > MAX_KEY_BYTES:
        raise _too_long("prefix", size)


def _utf8_size(what: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"the {what} is not text: lone surrogate U+{ord(text[error.start]):04X} "
            f"at character {error.start}"
        ) from None


def _too_long(what: str, size: int) -> InvalidArgument:
    return InvalidArgument(
        f"the {what} has {size:,} bytes of UTF-8; the limit is {MAX_KEY_BYTES:,}"
    )


def check_value(value: bytes, limit: int) -> int:
    """Return the size of a value in bytes; raise `InvalidArgument` if it exceeds the limit."""
    size = len(value)
    if size > limit:
        raise InvalidArgument(f"the value has {size:,} bytes; the limit is {limit:,}")
    return size


def check_ttl(ttl: timedelta) -> None:
    """Raise `InvalidArgument` unless a ttl is above zero and at most 100 years."""
    if not _ZERO < ttl <= MAX_TTL:
        raise InvalidArgument(
            f"the ttl is {ttl.total_seconds():,.10g} s; it must be above zero and at most 100 years"
        )


def check_delta(delta: int) -> None:
    """Raise `InvalidArgument` unless a delta is a signed 64-bit integer."""
    if not INT64_MIN <= delta <= INT64_MAX:
        raise InvalidArgument(f"the delta {delta} is not a signed 64-bit integer")
