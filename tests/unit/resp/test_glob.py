"""Patterns of KEYS and SCAN match what Redis's do, in linear time."""

from __future__ import annotations

import time

import pytest

from prism.adapters.resp.glob import Glob
from prism.ports import MAX_KEY_BYTES


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (b"*", [b"", b"a", b"a\nb"], []),
        (b"", [b""], [b"a"]),
        (b"a", [b"a"], [b"ab", b"ba", b""]),
        (b"h?llo", [b"hello", b"h\nllo"], [b"hllo", b"heello"]),
        (b"h*llo", [b"hllo", b"heeello"], [b"hll"]),
        (b"h[ae]llo", [b"hallo", b"hello"], [b"hillo", b"h[ae]llo"]),
        (b"h[^e]llo", [b"hallo"], [b"hello"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo", b"h-llo"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (b"\\*\\?\\[", [b"*?["], [b"a?["]),
        (b"a*b*c", [b"abc", b"axxbxxc", b"abcbc"], [b"ab", b"acb"]),
        (b"*ab", [b"ab", b"abab"], [b"aba"]),
        (b"*a?", [b"ab", b"aab"], [b"a"]),
        (b"a*a", [b"aa", b"aba"], [b"a"]),
        (b"[\\]]", [b"]"], [b"\\"]),
        (b"user:*:name", [b"user:1:name", b"user::name"], [b"user:name"]),
        ("ü*".encode(), ["ür".encode()], [b"u"]),
        (b"a.c", [b"a.c"], [b"abc"]),
        (b"a[b", [b"ab"], [b"a["]),
    ],
)
def test_patterns(pattern: bytes, matching: list[bytes], others: list[bytes]) -> None:
    glob = Glob(pattern)
    assert [key for key in matching + others if glob.matches(key)] == matching


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        (b"user:*", "user:"),
        (b"user", "user"),
        (b"*", ""),
        (b"us?r", "us"),
        (b"us[e]r", "us"),
        (b"a\\*b*", "a*b"),
        ("ü*".encode(), "ü"),
        (b"\xc3*", ""),
        (b"a\xc3?", "a"),
        (b"k" * 2000 + b"*", "k" * MAX_KEY_BYTES),
    ],
)
def test_the_backend_filters_by_the_literal_beginning(pattern: bytes, prefix: str) -> None:
    assert Glob(pattern).prefix == prefix


def test_many_stars_take_no_longer_than_the_key_is_long() -> None:
    glob = Glob(b"*a" * 40 + b"*b")
    begin = time.process_time()
    assert not glob.matches(b"a" * 1024)
    assert time.process_time() - begin < 1
