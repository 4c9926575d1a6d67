"""Scripts that are known by their text: locks, rate limits, and compare-and-set of libraries."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from prism.adapters.resp.arguments import integer_of, positive_ttl
from prism.adapters.resp.errors import CommandError
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import OK, ONE, ZERO, integer
from prism.adapters.resp.updates import Delete, Write, milliseconds, update
from prism.kit import add_to_counter
from prism.ports import Entry

if TYPE_CHECKING:
    from prism.adapters.resp.session import Session

Run: TypeAlias = "Callable[[Session, str, Arguments], Awaitable[bytes]]"
"""Does what a script does, given its key and its arguments."""

_MAX_LOADED = 1000

_MAX_TEXT_BYTES = 16 << 10
"""No known script is as long, with its comments; a longer text is not read."""

NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."

# What Lua does not look at: comments, and space between words.
_COMMENT = re.compile(rb"--[^\n]*")
_SPACE = re.compile(rb"\s+")


async def _delete_if_equal(session: Session, key: str, arguments: Arguments) -> bytes:
    deleted = False

    def change(entry: Entry | None) -> Delete | None:
        nonlocal deleted
        deleted = entry is not None and entry.value == arguments[0]
        return Delete() if deleted else None

    await update(session.gateway, key, change)
    return ONE if deleted else ZERO


async def _expire_if_equal(session: Session, key: str, arguments: Arguments) -> bytes:
    ttl = positive_ttl(arguments[1], 1, "pexpire")
    changed = False

    def change(entry: Entry | None) -> Write | None:
        nonlocal changed
        changed = entry is not None and entry.value == arguments[0]
        return Write(arguments[0], keeps_ttl=False, ttl=ttl) if changed else None

    await update(session.gateway, key, change)
    return ONE if changed else ZERO


async def _extend_if_equal(session: Session, key: str, arguments: Arguments) -> bytes:
    added_ms = integer_of(arguments[1])
    lifetime = await session.gateway.ttl(key)
    left_ms = milliseconds(lifetime)
    if left_ms < 0:
        return ZERO
    total_ms = added_ms + (left_ms if arguments[2] == b"0" else 0)
    return await _expire_if_equal(session, key, [arguments[0], b"%d" % total_ms])


async def _set_if_equal(session: Session, key: str, arguments: Arguments) -> bytes:
    ttl: timedelta | None = None
    if len(arguments) == 4:
        unit_ms = {b"EX": 1000, b"PX": 1}.get(arguments[2].upper())
        if unit_ms is None:
            raise CommandError("ERR syntax error")
        ttl = positive_ttl(arguments[3], unit_ms, "set")
    changed = False

    def change(entry: Entry | None) -> Write | None:
        nonlocal changed
        changed = entry is not None and entry.value == arguments[1]
        return Write(arguments[0], keeps_ttl=False, ttl=ttl) if changed else None

    await update(session.gateway, key, change)
    return OK if changed else ZERO


async def _count_in_window(session: Session, key: str, arguments: Arguments) -> bytes:
    ttl = positive_ttl(arguments[0], 1000, "expire")
    amount = integer_of(arguments[1])
    number = 0

    def change(entry: Entry | None) -> Write:
        nonlocal number
        number = add_to_counter(None if entry is None else entry.value, amount)
        begins = number == amount
        return Write(b"%d" % number, keeps_ttl=not begins, ttl=ttl if begins else None)

    await update(session.gateway, key, change)
    return integer(number)


async def _count_and_expire(session: Session, key: str, arguments: Arguments) -> bytes:
    amount = integer_of(arguments[0])
    ttl = positive_ttl(arguments[1], 1, "pexpire")
    number = 0

    def change(entry: Entry | None) -> Write:
        nonlocal number
        number = add_to_counter(None if entry is None else entry.value, amount)
        return Write(b"%d" % number, keeps_ttl=number != 1, ttl=ttl if number == 1 else None)

    await update(session.gateway, key, change)
    return integer(number)


async def _increment_existing(session: Session, key: str, arguments: Arguments) -> bytes:
    amount = integer_of(arguments[0])
    number: int | None = None

    def change(entry: Entry | None) -> Write | None:
        nonlocal number
        number = None if entry is None else add_to_counter(entry.value, amount)
        return None if number is None else Write(b"%d" % number)

    await update(session.gateway, key, change)
    return session.null if number is None else integer(number)


async def _increment(session: Session, key: str, arguments: Arguments) -> bytes:
    return integer((await session.gateway.increment(key, integer_of(arguments[0]))).value)


_KNOWN: tuple[tuple[Run, int, bytes], ...] = (
    # The release of a lock as Redis's documentation has it: redlock and most other libraries.
    (
        _delete_if_equal,
        1,
        b"""
        if redis.call("get",KEYS[1]) == ARGV[1] then
            return redis.call("del",KEYS[1])
        else
            return 0
        end""",
    ),
    (
        _expire_if_equal,
        2,
        b"""
        if redis.call("get",KEYS[1]) == ARGV[1] then
            return redis.call("pexpire",KEYS[1],ARGV[2])
        else
            return 0
        end""",
    ),
    # redis-py's Lock, which django-redis uses too.
    (
        _delete_if_equal,
        1,
        b"""
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('del', KEYS[1])
        return 1""",
    ),
    (
        _extend_if_equal,
        3,
        b"""
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        local expiration = redis.call('pttl', KEYS[1])
        if not expiration then
            expiration = 0
        end
        if expiration < 0 then
            return 0
        end

        local newttl = ARGV[2]
        if ARGV[3] == "0" then
            newttl = ARGV[2] + expiration
        end
        redis.call('pexpire', KEYS[1], newttl)
        return 1""",
    ),
    (
        _expire_if_equal,
        2,
        b"""
        local token = redis.call('get', KEYS[1])
        if not token or token ~= ARGV[1] then
            return 0
        end
        redis.call('pexpire', KEYS[1], ARGV[2])
        return 1""",
    ),
    # aiocache
    (
        _set_if_equal,
        2,
        b"""
        if redis.call('get',KEYS[1]) == ARGV[2] then
          if #ARGV == 4 then
           return redis.call('set', KEYS[1], ARGV[1], ARGV[3], ARGV[4])
          else
           return redis.call('set', KEYS[1], ARGV[1])
          end
         else
         return 0
         end""",
    ),
    # limits, fixed window
    (
        _count_in_window,
        2,
        b"""
        local current
        local amount = tonumber(ARGV[2])
        current = redis.call("incrby", KEYS[1], amount)

        if tonumber(current) == amount then
            redis.call("expire", KEYS[1], ARGV[1])
        end

        return current""",
    ),
    # cashews
    (
        _count_and_expire,
        2,
        b"""
        local current_count = redis.call("INCRBY", KEYS[1], ARGV[1])
        if current_count == 1 then
            redis.call("PEXPIRE", KEYS[1], ARGV[2])
        end
        return current_count""",
    ),
    (
        _delete_if_equal,
        1,
        b"""
        if redis.call("GET", KEYS[1]) == ARGV[1] then
            return redis.call("DEL", KEYS[1])
        else
            return 0
        end""",
    ),
    # django-redis
    (
        _increment_existing,
        1,
        b"""
        local exists = redis.call('EXISTS', KEYS[1])
        if (exists == 1) then
            return redis.call('INCRBY', KEYS[1], ARGV[1])
        else return false end""",
    ),
    (_increment, 1, b"return redis.call('INCRBY', KEYS[1], ARGV[1])"),
)


def _normalized(text: bytes) -> bytes:
    return _SPACE.sub(b"", _COMMENT.sub(b"", text)).replace(b"'", b'"')


_BY_TEXT = {_normalized(text): (run, least) for run, least, text in _KNOWN}


class Scripts:
    """Scripts that clients have loaded, by the digest of their text."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[bytes, tuple[Run, int]] = OrderedDict()

    def load(self, text: bytes) -> bytes:
        """Remember a known script; return the digest of its text.

        Raises:
            CommandError: the script is not known.
        """
        known = _BY_TEXT.get(_normalized(text)) if len(text) <= _MAX_TEXT_BYTES else None
        if known is None:
            raise CommandError(
                "ERR Prism runs no Lua: it knows the scripts of some libraries for locks and rate "
                "limits, and this is none of them"
            )
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
        self._loaded[digest] = known
        if len(self._loaded) > _MAX_LOADED:
            self._loaded.popitem(last=False)
        return digest

    def is_loaded(self, digest: bytes) -> bool:
        """Return whether a digest can be run."""
        return digest.lower() in self._loaded

    async def run(
        self, session: Session, digest: bytes, keys: list[str], arguments: Arguments
    ) -> bytes:
        """Do what the script of a digest does."""
        known = self._loaded.get(digest.lower())
        if known is None:
            raise CommandError(NO_SCRIPT)
        run, least = known
        if len(keys) != 1 or len(arguments) < least:
            raise CommandError(f"ERR this script takes one key and {least} arguments")
        return await run(session, keys[0], arguments)

    def clear(self) -> None:
        """Forget all scripts."""
        self._loaded.clear()
