"""What one command cannot do alone, in Lua: run on the server, atomically.

Each begins with a command that fails on a key of another type, so that nothing of
another client's is ever replaced or removed. A script is called by its digest, and
sent along once where a server does not know it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1
from typing import TypeAlias

Command: TypeAlias = tuple[bytes | str | int, ...]
"""A command and its arguments."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script on one key."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)

    def on(self, key: bytes, *arguments: bytes | str | int) -> Command:
        """The command that runs it."""
        return ("EVALSHA", self.digest, 1, key, *arguments)

    @property
    def load(self) -> Command:
        """The command that makes it known."""
        return ("SCRIPT", "LOAD", self.text)


SET = Script(
    """\
redis.call('STRLEN', KEYS[1])
return redis.call('SET', KEYS[1], unpack(ARGV))
"""
)

DELETE = Script(
    """\
redis.call('STRLEN', KEYS[1])
return redis.call('DEL', KEYS[1])
"""
)

EXPIRE = Script(
    """\
redis.call('STRLEN', KEYS[1])
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
)

# 0: no key, 1: no expiry, 2: the expiry is removed.
PERSIST = Script(
    """\
redis.call('STRLEN', KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return 1 + redis.call('PERSIST', KEYS[1])
"""
)

GET = Script(
    """\
return {redis.call('GET', KEYS[1]), redis.call('PEXPIRETIME', KEYS[1])}
"""
)

COMPARE_AND_SET = Script(
    """\
local held = redis.call('GET', KEYS[1])
if not held or redis.sha1hex(held):sub(1, 16) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], unpack(ARGV, 2))
return 1
"""
)

COMPARE_AND_DELETE = Script(
    """\
local held = redis.call('GET', KEYS[1])
if not held or redis.sha1hex(held):sub(1, 16) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""
)

# The sum is read back as text: a number of Lua has 53 bits.
INCREMENT = Script(
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

EVERY = (SET, DELETE, EXPIRE, PERSIST, GET, COMPARE_AND_SET, COMPARE_AND_DELETE, INCREMENT)

_BY_DIGEST = {script.digest: script for script in EVERY}


def loads_of(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """What loads the scripts that these commands run, each once."""
    wanted = dict.fromkeys(str(command[1]) for command in commands if command[0] == "EVALSHA")
    return tuple(_BY_DIGEST[digest].load for digest in wanted)
