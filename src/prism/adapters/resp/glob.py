"""Patterns of KEYS and SCAN, matched in time that is linear for each part of the pattern."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prism.adapters.resp.errors import CommandError
from prism.ports import MAX_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prism.adapters.resp.session import Session

MAX_PATTERN_BYTES = 2 * MAX_KEY_BYTES + 64
"""Enough for a key of which each byte is escaped, behind the beginning of a channel."""

_AT_ONCE = 8
"""Keys that are matched in one go: a match can take milliseconds."""


class Glob:
    """Pattern with `*`, `?`, `[a-z]`, `[^a]` and `\\`, as Redis has them; it matches bytes.

    A regular expression with several stars can take years for one key. So the pattern is split
    at its stars, and the parts are looked for from left to right: each has a fixed length.

    Attributes:
        prefix: text that every key begins with.

    Raises:
        CommandError: the pattern is too long, and would take long to compile.
    """

    def __init__(self, pattern: bytes) -> None:
        if len(pattern) > MAX_PATTERN_BYTES:
            raise CommandError(
                f"ERR the pattern has {len(pattern):,} bytes; the limit is {MAX_PATTERN_BYTES:,}"
            )
        parts, literal = _parts_of(pattern)
        compiled = [re.compile(part, re.DOTALL) for part in parts]
        self._first, *self._middle = compiled
        self._last: re.Pattern[bytes] | None = None
        if self._middle:
            self._middle.pop()
            self._last = re.compile(b"(?:%b)\\Z" % parts[-1], re.DOTALL)
        self.matches_all = len(parts) > 1 and not any(parts)
        # No key is longer, and a scan takes no longer prefix. A key is cut between characters, so
        # a prefix that ends within one is shortened.
        literal = literal[:MAX_KEY_BYTES]
        self.prefix = literal.decode("utf-8", "ignore")
        if self.prefix.encode() != literal[: len(self.prefix.encode())]:
            self.prefix = ""

    def matches(self, key: bytes) -> bool:
        """Return whether the pattern matches the whole key."""
        if self._last is None:
            return self._first.fullmatch(key) is not None
        found = self._first.match(key)
        if found is None:
            return False
        at = found.end()
        for part in self._middle:
            found = part.search(key, at)
            if found is None:
                return False
            at = found.end()
        return self._last.search(key, at) is not None


async def matching(session: Session, keys: Iterable[str], glob: Glob) -> list[bytes]:
    """Return the keys that a pattern matches."""
    if glob.matches_all:
        return [key.encode() for key in keys]
    found = []
    for number, key in enumerate(keys):
        if not number % _AT_ONCE:
            await session.take_turns()
        encoded = key.encode()
        if glob.matches(encoded):
            found.append(encoded)
    return found


def _parts_of(pattern: bytes) -> tuple[list[bytes], bytes]:
    """Return the parts between stars as regular expressions, and the literal beginning."""
    parts: list[list[bytes]] = [[]]
    literal: bytes = b""
    is_literal = True
    at = 0
    while at < len(pattern):
        character = pattern[at : at + 1]
        if character == b"*":
            is_literal = False
            parts.append([])
        elif character == b"?":
            is_literal = False
            parts[-1].append(b".")
        elif character == b"[":
            is_literal = False
            expression, at = _class_of(pattern, at)
            parts[-1].append(expression)
        else:
            if character == b"\\" and at + 1 < len(pattern):
                at += 1
                character = pattern[at : at + 1]
            parts[-1].append(re.escape(character))
            if is_literal:
                literal += character
        at += 1
    return [b"".join(part) for part in parts], literal


def _class_of(pattern: bytes, at: int) -> tuple[bytes, int]:
    """Return the regular expression of a class of characters, and the position of its end."""
    at += 1
    negated = pattern[at : at + 1] == b"^"
    at += negated
    ranges = []
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            at += 1
            ranges.append(_range(pattern[at], pattern[at]))
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            ranges.append(_range(low, high))
            at += 2
        else:
            ranges.append(_range(pattern[at], pattern[at]))
        at += 1
    if not ranges:
        # No character is in an empty class.
        return (b"." if negated else b"(?!)."), min(at, len(pattern) - 1)
    inner = b"".join(ranges)
    return b"[%b%b]" % (b"^" if negated else b"", inner), min(at, len(pattern) - 1)


def _range(low: int, high: int) -> bytes:
    return b"\\x%02x-\\x%02x" % (low, high)
