"""Inline commands: one line of words, as typed into telnet."""

from __future__ import annotations

import re

_WORD = re.compile(
    rb"""\s*(?:
      "(?P<double>(?:[^"\\]|\\.)*)"(?=\s|\Z)
    | '(?P<single>(?:[^'\\]|\\.)*)'(?=\s|\Z)
    | (?P<plain>[^\s"']+)(?=\s|\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_inline(line: bytes) -> list[bytes]:
    """Return the words of a line; quotes are as in redis-cli.

    Raises:
        ValueError: a quote does not end.
    """
    if b'"' not in line and b"'" not in line:
        return line.split()
    words = []
    at, line = 0, line.strip()
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise ValueError("unbalanced quotes in request")
        at = match.end()
        if (double := match["double"]) is not None:
            words.append(_ESCAPE.sub(_unescape, double))
        elif (single := match["single"]) is not None:
            words.append(single.replace(b"\\'", b"'"))
        else:
            words.append(match["plain"])
    return words


def _unescape(match: re.Match[bytes]) -> bytes:
    digits, character = match.groups()
    if digits is not None:
        return bytes.fromhex(digits.decode())
    return _NAMED.get(character, character)
