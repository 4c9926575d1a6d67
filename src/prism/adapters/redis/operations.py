"""Each operation as the commands it takes, and what their replies mean: no I/O.

One that writes is a single command, so that it is applied whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha1
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from prism.adapters.redis import scripts
from prism.adapters.redis.scripts import Command
from prism.ports import (
    Count,
    Entry,
    Lifetime,
    Persisted,
    PreconditionFailed,
    Version,
    VersionConflict,
)

Result = TypeVar("Result")
Reply: TypeAlias = Any
"""Bytes, a number, a list of replies, or None."""

_MILLISECOND = timedelta(milliseconds=1)
_NO_KEY, _NO_EXPIRY = -2, -1
_PERSISTED = (Persisted.NO_KEY, Persisted.NO_EXPIRY, Persisted.EXPIRY_REMOVED)


class Operation(NamedTuple, Generic[Result]):
    """What to send about a key.

    Attributes:
        decode: the result in as many replies as there are commands, none an error.
        writes: a repeat of it is not safe.
    """

    key: bytes
    commands: tuple[Command, ...]
    decode: Callable[[Sequence[Reply]], Result]
    writes: bool = True


class Torn:
    """Not an entry: somebody changed the expiry between the commands of a `get`."""


def version_of(value: bytes) -> Version:
    """The first 64 bits of its SHA-1, which a script can compute too."""
    return Version(int.from_bytes(sha1(value, usedforsecurity=False).digest()[:8]))


def get(key: bytes) -> Operation[Entry | Torn | None]:
    """The entry, or `Torn` where value and expiry may not belong together.

    A pipeline is half again as fast as a script, and the server runs it in one go
    nearly always; asking for the expiry twice tells when it did not.
    """

    def decode(replies: Sequence[Reply]) -> Entry | Torn | None:
        before, value, after = replies
        return Torn() if value is not None and before != after else _entry(value, after)

    expiry = ("PEXPIRETIME", key)
    return Operation(key, (expiry, ("GET", key), expiry), decode, writes=False)


def get_at_once(key: bytes) -> Operation[Entry | None]:
    """The same by a script, which is slower and never torn."""
    return Operation(key, (scripts.GET.on(key),), lambda replies: _entry(*replies[0]), writes=False)


def _entry(value: bytes | None, expires_at_ms: int) -> Entry | None:
    if value is None:
        return None
    return Entry(value, version_of(value), None if expires_at_ms == _NO_EXPIRY else expires_at_ms)


def size(key: bytes) -> Operation[int]:
    """Bytes of the value; 0 where there is none."""
    return Operation(key, (("STRLEN", key),), lambda replies: int(replies[0]), writes=False)


def set_(key: bytes, value: bytes, ttl: timedelta | None) -> Operation[Version]:
    version = version_of(value)
    return Operation(key, (scripts.SET.on(key, value, *_px(ttl)),), lambda _: version)


def delete(key: bytes) -> Operation[bool]:
    return Operation(key, (scripts.DELETE.on(key),), _is_one)


def exists(key: bytes) -> Operation[bool]:
    def decode(replies: Sequence[Reply]) -> bool:
        return _is_there(replies[0])

    return Operation(key, (("TYPE", key),), decode, writes=False)


def expire(key: bytes, ttl: timedelta) -> Operation[bool]:
    return Operation(key, (scripts.EXPIRE.on(key, _milliseconds(ttl)),), _is_one)


def ttl(key: bytes) -> Operation[Lifetime | None]:
    def decode(replies: Sequence[Reply]) -> Lifetime | None:
        _is_there(replies[0])
        if replies[1] == _NO_KEY:
            return None
        if replies[1] == _NO_EXPIRY:
            return Lifetime()
        # The key is there: a remainder below a millisecond is not none.
        return Lifetime(max(replies[1], 1) * _MILLISECOND)

    return Operation(key, (("TYPE", key), ("PTTL", key)), decode, writes=False)


def persist(key: bytes) -> Operation[Persisted]:
    return Operation(key, (scripts.PERSIST.on(key),), lambda replies: _PERSISTED[replies[0]])


def set_if_absent(key: bytes, value: bytes, ttl: timedelta | None) -> Operation[Version]:
    version = version_of(value)

    def decode(replies: Sequence[Reply]) -> Version:
        if replies[0] is None:
            raise VersionConflict("the key exists, and was to be written only if absent")
        return version

    return Operation(key, (("SET", key, value, "NX", *_px(ttl)),), decode)


def set_if_version(
    key: bytes, value: bytes, expected: Version, ttl: timedelta | None
) -> Operation[Version]:
    version = version_of(value)

    def decode(replies: Sequence[Reply]) -> Version:
        _check_won(replies)
        return version

    script = scripts.COMPARE_AND_SET.on(key, _hexadecimal(expected), value, *_px(ttl))
    return Operation(key, (script,), decode)


def delete_if_version(key: bytes, expected: Version) -> Operation[None]:
    script = scripts.COMPARE_AND_DELETE.on(key, _hexadecimal(expected))
    return Operation(key, (script,), _check_won)


def increment(key: bytes, delta: int) -> Operation[Count]:
    def decode(replies: Sequence[Reply]) -> Count:
        return Count(int(replies[0]), version_of(replies[0]))

    return Operation(key, (scripts.INCREMENT.on(key, delta),), decode)


def _is_one(replies: Sequence[Reply]) -> bool:
    return bool(replies[0] == 1)


def _is_there(held: Reply) -> bool:
    if held not in (b"string", b"none"):
        raise PreconditionFailed(
            f"the key holds a {held.decode()} of another client of Redis, and no value",
            reason="WRONG_TYPE",
        )
    return bool(held == b"string")


def _check_won(replies: Sequence[Reply]) -> None:
    if replies[0] != 1:
        raise VersionConflict("the key is absent, or has another version than the one expected")


def _px(ttl: timedelta | None) -> tuple[str | int, ...]:
    return () if ttl is None else ("PX", _milliseconds(ttl))


def _milliseconds(ttl: timedelta) -> int:
    """Rounded up, for it must not end early."""
    return -(-ttl // _MILLISECOND)


def _hexadecimal(version: Version) -> str:
    return f"{version:016x}"
