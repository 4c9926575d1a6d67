"""Operations as Redis commands, and the meaning of the replies; no I/O.

An operation that writes is one command, so it is applied completely or not at all. Where
Redis has no such command it is a Lua script, which the server runs atomically. Every
script that writes begins with a command that fails on a key of another type, so that
another client's list or hash is never replaced or removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from hashlib import sha1
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from prism.kit import condition_failed
from prism.ports import (
    Condition,
    Count,
    Delete,
    Entry,
    Lifetime,
    Persisted,
    PreconditionFailed,
    Presence,
    Put,
    Version,
    VersionConflict,
    Write,
)

Result_co = TypeVar("Result_co", covariant=True)

Command: TypeAlias = tuple[bytes | str | int, ...]
"""Name of a command, and its arguments."""

Reply: TypeAlias = Any
"""bytes, int, None, or a list of replies; a failed command has an exception as its reply.

The type depends on the command, which no annotation can express.
"""

_PATTERN_CHARACTERS = re.compile(rb"[*?\[\]\\^-]")
_COMMAND_IN_LINE = re.compile(r"redis\.p?call\('(\w+)'")
_MILLISECOND = timedelta(milliseconds=1)
_NO_KEY, _NO_EXPIRY = -2, -1
_PERSISTED = (Persisted.NO_KEY, Persisted.NO_EXPIRY, Persisted.EXPIRY_REMOVED)


class Operation(NamedTuple, Generic[Result_co]):
    """Commands on one key, sent together.

    Attributes:
        key: key in Redis, including the prefix.
        commands: at least one command; they leave in one write.
        decode: function from the replies, one for each command and none an exception, to
            the result; raises a `PrismError` if the operation failed.
        writes: whether it changes data, and so must not be repeated.
    """

    key: bytes
    commands: tuple[Command, ...]
    decode: Callable[[Sequence[Reply]], Result_co]
    writes: bool = True


class TornRead:
    """Result of a `get` whose value and expiry may belong to different writes."""


def version_of(value: bytes) -> Version:
    """Return the first 64 bits of the SHA-1 of a value, which a script can compute too."""
    return Version(int.from_bytes(sha1(value, usedforsecurity=False).digest()[:8]))


def prefix_pattern(prefix: bytes) -> bytes:
    """Return a Redis pattern that matches everything with a literal prefix."""
    return _PATTERN_CHARACTERS.sub(rb"\\\g<0>", prefix) + b"*"


def get(key: bytes) -> Operation[Entry | TornRead | None]:
    """Read value and expiry with plain commands, or detect a `TornRead`.

    These are 1.5 times as fast as a script. The server nearly always runs them in one go;
    where it does not, the expiry before the value differs from the expiry after it.
    """

    def decode(replies: Sequence[Reply]) -> Entry | TornRead | None:
        before, value, after = replies
        return TornRead() if value is not None and before != after else _entry(value, after)

    expiry = ("PEXPIRETIME", key)
    return Operation(key, (expiry, ("GET", key), expiry), decode, writes=False)


def get_atomic(key: bytes) -> Operation[Entry | None]:
    """Read value and expiry with a script, which is slower and never torn."""
    return Operation(
        key, (GET_SCRIPT.call(key),), lambda replies: _entry(*replies[0]), writes=False
    )


def _entry(value: bytes | None, expires_at_ms: int) -> Entry | None:
    if value is None:
        return None
    return Entry(value, version_of(value), None if expires_at_ms == _NO_EXPIRY else expires_at_ms)


def size(key: bytes) -> Operation[int]:
    """Read the length of a value in bytes; 0 for an absent key."""
    return Operation(key, (("STRLEN", key),), lambda replies: int(replies[0]), writes=False)


def set_(key: bytes, value: bytes, ttl: timedelta | None) -> Operation[Version]:
    version = version_of(value)
    return Operation(key, (SET_SCRIPT.call(key, value, *_px(ttl)),), lambda _: version)


def delete(key: bytes) -> Operation[bool]:
    return Operation(key, (DELETE_SCRIPT.call(key),), _is_one)


def exists(key: bytes) -> Operation[bool]:
    return Operation(key, (("TYPE", key),), lambda replies: _is_string(replies[0]), writes=False)


def expire(key: bytes, ttl: timedelta) -> Operation[bool]:
    return Operation(key, (EXPIRE_SCRIPT.call(key, _milliseconds(ttl)),), _is_one)


def ttl(key: bytes) -> Operation[Lifetime | None]:
    def decode(replies: Sequence[Reply]) -> Lifetime | None:
        _is_string(replies[0])
        if replies[1] == _NO_KEY:
            return None
        if replies[1] == _NO_EXPIRY:
            return Lifetime()
        # The key still exists, so less than a millisecond is not zero.
        return Lifetime(max(replies[1], 1) * _MILLISECOND)

    return Operation(key, (("TYPE", key), ("PTTL", key)), decode, writes=False)


def persist(key: bytes) -> Operation[Persisted]:
    return Operation(key, (PERSIST_SCRIPT.call(key),), lambda replies: _PERSISTED[replies[0]])


def set_if_absent(key: bytes, value: bytes, ttl: timedelta | None) -> Operation[Version]:
    version = version_of(value)

    def decode(replies: Sequence[Reply]) -> Version:
        if replies[0] is None:
            raise VersionConflict("the key exists, and the write requires it to be absent")
        return version

    return Operation(key, (("SET", key, value, "NX", *_px(ttl)),), decode)


def set_if_version(
    key: bytes, value: bytes, expected: Version, ttl: timedelta | None
) -> Operation[Version]:
    version = version_of(value)

    def decode(replies: Sequence[Reply]) -> Version:
        _check_version_matched(replies)
        return version

    command = COMPARE_AND_SET_SCRIPT.call(key, _hexadecimal(expected), value, *_px(ttl))
    return Operation(key, (command,), decode)


def delete_if_version(key: bytes, expected: Version) -> Operation[None]:
    command = COMPARE_AND_DELETE_SCRIPT.call(key, _hexadecimal(expected))
    return Operation(key, (command,), _check_version_matched)


def refused_write(key: bytes) -> Operation[None]:
    """Write to a key that does not exist, on condition that it exists; it changes nothing.

    A server that refuses writes refuses this one too.
    """
    return Operation(key, (SET_SCRIPT.call(key, b"", "XX"),), lambda _: None, writes=False)


def increment(key: bytes, delta: int) -> Operation[Count]:
    def decode(replies: Sequence[Reply]) -> Count:
        return Count(int(replies[0]), version_of(replies[0]))

    return Operation(key, (INCREMENT_SCRIPT.call(key, delta),), decode)


def apply(
    keys: Sequence[bytes], conditions: Sequence[Condition], writes: Sequence[Write]
) -> Operation[list[Version | bool]]:
    """Write several keys if all conditions hold, in a script.

    Args:
        keys: keys in Redis: those of the conditions, then those of the writes.
    """
    arguments: list[bytes | str | int] = [len(conditions)]
    arguments += [_expected(condition) for condition in conditions]
    for write in writes:
        if isinstance(write, Delete):
            arguments.append("DEL")
        else:
            ttl = 0 if write.ttl is None else _milliseconds(write.ttl)
            arguments += ["SET", write.value, ttl]

    def decode(replies: Sequence[Reply]) -> list[Version | bool]:
        failed, *rest = replies[0]
        if failed:
            current = Version(int(rest[0], 16)) if rest[0] else None
            raise condition_failed(conditions, failed - 1, current)
        return [
            version_of(write.value) if isinstance(write, Put) else existed == 1
            for write, existed in zip(writes, rest, strict=True)
        ]

    command = APPLY_SCRIPT.call_with(keys, *arguments)
    return Operation(keys[0], (command,), decode, writes=bool(writes))


def _expected(condition: Condition) -> str:
    if isinstance(condition.expected, Presence):
        return condition.expected.name
    return _hexadecimal(condition.expected)


def _is_one(replies: Sequence[Reply]) -> bool:
    return bool(replies[0] == 1)


def _is_string(type_name: bytes) -> bool:
    """Return whether a reply of TYPE means a value; False means an absent key."""
    if type_name not in (b"string", b"none"):
        raise PreconditionFailed(
            f"the key holds a Redis {type_name.decode()}, not a string, which another client wrote",
            reason="WRONG_TYPE",
        )
    return type_name == b"string"


def _check_version_matched(replies: Sequence[Reply]) -> None:
    if replies[0] != 1:
        raise VersionConflict("the key is absent, or has another version than the one expected")


def _px(ttl: timedelta | None) -> tuple[str | int, ...]:
    return () if ttl is None else ("PX", _milliseconds(ttl))


def _milliseconds(ttl: timedelta) -> int:
    """Return a ttl in milliseconds, rounded up so that no key expires early."""
    return -(-ttl // _MILLISECOND)


def _hexadecimal(version: Version) -> str:
    return f"{version:016x}"


class Script:
    """Lua script that works on the keys that it is called with, with at most one command in a line.

    It is called by its digest; a server that does not know it has to load it first.

    Attributes:
        load_command: command that makes the script known to a server.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.load_command: Command = ("SCRIPT", "LOAD", text)

    def call(self, key: bytes, *arguments: bytes | str | int) -> Command:
        """Return the command that runs the script on one key."""
        return ("EVALSHA", self.digest, 1, key, *arguments)

    def call_with(self, keys: Sequence[bytes], *arguments: bytes | str | int) -> Command:
        """Return the command that runs the script on several keys."""
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)


SET_SCRIPT = Script(
    """\
redis.call('STRLEN', KEYS[1])
return redis.call('SET', KEYS[1], unpack(ARGV))
"""
)

DELETE_SCRIPT = Script(
    """\
redis.call('STRLEN', KEYS[1])
return redis.call('DEL', KEYS[1])
"""
)

EXPIRE_SCRIPT = Script(
    """\
redis.call('STRLEN', KEYS[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
)

# Returns an index into `_PERSISTED`.
PERSIST_SCRIPT = Script(
    """\
redis.call('STRLEN', KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return 1 + redis.call('PERSIST', KEYS[1])
"""
)

GET_SCRIPT = Script(
    """\
local held = redis.call('GET', KEYS[1])
return {held, redis.call('PEXPIRETIME', KEYS[1])}
"""
)

COMPARE_AND_SET_SCRIPT = Script(
    """\
local held = redis.call('GET', KEYS[1])
if not held or redis.sha1hex(held):sub(1, 16) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], unpack(ARGV, 2))
return 1
"""
)

COMPARE_AND_DELETE_SCRIPT = Script(
    """\
local held = redis.call('GET', KEYS[1])
if not held or redis.sha1hex(held):sub(1, 16) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""
)

# Returns the sum as text, because a Lua number has 53 bits.
INCREMENT_SCRIPT = Script(
    """\
local held = redis.call('GET', KEYS[1]) or '0'
if held ~= '0' and (#held > 20 or not held:find('^%-?[1-9]%d*$')) then
  return redis.error_reply('NOT_AN_INTEGER')
end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' and sum.err then
  if sum.err:find('overflow') then return redis.error_reply('OVERFLOW') end
  if sum.err:find('not an integer') then return redis.error_reply('NOT_AN_INTEGER') end
  return sum
end
return redis.call('GET', KEYS[1])
"""
)

# ARGV: the number of conditions, what each expects, and each write: DEL, or SET, value and ttl.
# KEYS: those of the conditions, then those of the writes. Redis does not undo what a script wrote
# before it failed, so all that can fail comes first: keys of another type, and what the user may
# not do. Once a script has written, the server itself refuses it nothing: it looks at its memory,
# disk and replicas before the first write only.
APPLY_SCRIPT = Script(
    """\
local conditions = tonumber(ARGV[1])
for i = 1, conditions do
  local held = redis.call('GET', KEYS[i])
  local version = held and redis.sha1hex(held):sub(1, 16) or ''
  local expected = ARGV[i + 1]
  local holds = version == expected
  if expected == 'ABSENT' then holds = not held elseif expected == 'PRESENT' then holds = held end
  if not holds then return {i, version} end
end
local at = conditions + 2
for i = conditions + 1, #KEYS do
  redis.call('STRLEN', KEYS[i])
  local name = ARGV[at]
  if not redis.acl_check_cmd(name, KEYS[i], unpack(name == 'SET' and {''} or {})) then
    return redis.error_reply("ACL failure: not allowed to run the '" .. name .. "' command")
  end
  at = at + (name == 'SET' and 3 or 1)
end
local answer = {0}
at = conditions + 2
for i = conditions + 1, #KEYS do
  if ARGV[at] == 'DEL' then
    answer[#answer + 1] = redis.call('DEL', KEYS[i])
    at = at + 1
  else
    if ARGV[at + 2] == '0' then
      redis.call('SET', KEYS[i], ARGV[at + 1])
    else
      redis.call('SET', KEYS[i], ARGV[at + 1], 'PX', ARGV[at + 2])
    end
    answer[#answer + 1] = 1
    at = at + 3
  end
end
return answer
"""
)

ALL_SCRIPTS = (
    SET_SCRIPT, DELETE_SCRIPT, EXPIRE_SCRIPT, PERSIST_SCRIPT, GET_SCRIPT,
    COMPARE_AND_SET_SCRIPT, COMPARE_AND_DELETE_SCRIPT, INCREMENT_SCRIPT, APPLY_SCRIPT,
)  # fmt: skip

COMMAND_NAMES = frozenset(
    {"PEXPIRETIME", "GET", "STRLEN", "TYPE", "PTTL", "SET", "EVALSHA", "SCRIPT", "SCAN", "INFO"}
    | {"CONFIG", "CLUSTER", "ASKING", "DBSIZE", "PSUBSCRIBE", "PING", "CLIENT", "SELECT", "AUTH"}
)
"""Names of the commands that the driver sends."""

_SCRIPT_BY_DIGEST = {script.digest: script for script in ALL_SCRIPTS}


def key_count(key: bytes) -> Operation[int]:
    """Count the keys of the database on the server; the key is not used."""
    return Operation(key, (("DBSIZE",),), lambda replies: int(replies[0]), writes=False)


def command_in_script(digest: str, line: int) -> str:
    """Return the name of the command in a line of a script; empty if there is none."""
    script = _SCRIPT_BY_DIGEST.get(digest)
    lines = [] if script is None else script.text.splitlines()
    found = _COMMAND_IN_LINE.search(lines[line - 1]) if 0 < line <= len(lines) else None
    return "" if found is None else found[1]


def load_commands(commands: Iterable[Command]) -> tuple[Command, ...]:
    """Return the commands that load the scripts which `commands` run, each script once."""
    digests = dict.fromkeys(str(command[1]) for command in commands if command[0] == "EVALSHA")
    return tuple(_SCRIPT_BY_DIGEST[digest].load_command for digest in digests)
