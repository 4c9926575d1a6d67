"""Group basic, continued: keys and values through every operation that has one."""

from __future__ import annotations

import random
import secrets
import unicodedata

import pytest

from prism.ports import Capability, FullKeyValue, Put
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import Group, group, needs
from prism.testing.suite.operations import reads_of, writes_of

AWKWARD_KEYS = {
    "spaces": " a  b ",
    "only a space": " ",
    "slashes": "/a//b/",
    "dots": ".a..b.",
    "wildcards": "a*b>c?d[e]f",
    "separators": "a:b|c;d,e=f",
    "quotes": "a'b\"c`d",
    "backslashes": "a\\b\\\\n",
    "newlines": "a\nb\r\nc\td",
    "nul": "a\x00b\x00",
    "controls": "\x01\x1b\x7f\x85\u2028",
    "emoji": "a🔑👩‍👩‍👧b",
    "last code point": "a\U0010ffff",
    "only last code points": "\U0010ffff\U0010ffff",
    "last code point before the surrogates": "\ud7ff",
    "last code point of three bytes": "\uffff",
    "right to left": "\u202eabc\u05d0",
    "byte order mark": "\ufeffa",
    "percent and underscore": "a%b_c%20",
    "braces and dollars": "{a}${b}#{c}",
    "looks like a path": "../../etc/passwd",
    "looks like a command": "\r\nDEL a\r\n",
}

WHOLE_KEY_LOOKALIKES = {
    "leading space": (" {}", "{}"),
    "leading tab": ("\t{}", "{}"),
    "leading newline": ("\n{}", "{}"),
    "leading nul": ("\x00{}", "{}"),
    "byte order mark": ("\ufeff{}", "{}"),
    "zero width space": ("\u200b{}", "{}"),
    "upper case": ("É{}", "é{}"),
    "upper case of ascii": ("Key{}", "key{}"),
    "composition": ("é{}", unicodedata.normalize("NFD", "é{}")),
    "leading slash": ("/{}", "{}"),
    "double slash": ("a//b{}", "a/b{}"),
    "parent folder": ("/a/../b{}", "/b{}"),
    "this folder": ("./{}", "{}"),
    "leading zeros": ("007{}", "7{}"),
    "plus sign": ("+{}", "{}"),
    "decimal point": ("{}.0", "{}"),
    "leading underscore": ("_x{}", "x{}"),
    "leading dollar": ("$x{}", "x{}"),
    "leading dot": (".{}", "{}"),
    "trailing dot": ("{}.", "{}"),
    "trailing slash": ("{}/", "{}"),
    "trailing newline": ("{}\n", "{}"),
    "percent encoding": ("%20{}", " {}"),
    "base64 padding": ("{}=", "{}"),
    "backslash": ("\\{}", "{}"),
}
"""Pairs of keys that a backend could confuse; `{}` stands for digits that no other test uses.
No common prefix comes first, because what stands at the start of a key can matter."""

VALUES = {
    "trailing newline": b"a\n",
    "trailing line end": b"a\r\n",
    "only a newline": b"\n",
    "trailing nul": b"a\x00",
    "only a nul": b"\x00",
    "spaces around": b" a ",
    "empty": b"",
    "not utf-8": b"\xff\xfe\xc3\x28",
    "quoted": b'"a"',
    "null": b"null",
    # A whole number of chunks, for chunks of 64 KiB and of 100,000 bytes.
    "196,608 bytes": random.Random(1).randbytes(196_608),
    "200,000 bytes": random.Random(2).randbytes(200_000),
    "131,073 bytes": random.Random(3).randbytes(131_073),
    "999,999 bytes": random.Random(4).randbytes(999_999),
}


@group()
class KeysAndValues(Group):
    """No character of a key and no byte of a value has a meaning, in any operation."""

    @pytest.mark.parametrize("pair", WHOLE_KEY_LOOKALIKES.values(), ids=WHOLE_KEY_LOOKALIKES.keys())
    async def test_keys_that_differ_at_their_ends_are_different(
        self, backend: Backend, pair: tuple[str, str]
    ) -> None:
        kv, digits = backend.kv, str(secrets.randbits(60))
        one, other = (text.format(digits) for text in pair)
        for write in writes_of(backend.profile).values():
            await write(kv, one, b"one")
            assert await kv.get(other) is None
            assert await kv.exists(other) is False
            await write(kv, other, b"other")
            for name, read in reads_of(backend.profile).items():
                entries = [await read(kv, key) for key in (one, other)]
                assert [entry and entry.value for entry in entries] == [b"one", b"other"], name
            assert await kv.delete(one) is True
            assert await kv.exists(other) is True
            assert await kv.delete(other) is True

    @needs(Capability.BATCH)
    async def test_keys_that_look_alike_are_different_in_one_batch(self, kv: FullKeyValue) -> None:
        digits = str(secrets.randbits(60))
        pairs = WHOLE_KEY_LOOKALIKES.values()
        keys = sorted({text.format(digits) for pair in pairs for text in pair})
        await kv.set_many([Put(key, key.encode()) for key in keys])
        entries = await kv.get_many(keys)
        values = [entry.value if isinstance(entry, tuple) else entry for entry in entries]
        assert values == [key.encode() for key in keys]
        assert await kv.delete_many(keys) == [True] * len(keys)

    @needs(Capability.SCAN)
    @pytest.mark.parametrize("text", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS.keys())
    async def test_every_text_is_a_prefix(self, kv: FullKeyValue, prefix: str, text: str) -> None:
        for start in (prefix + text, text + prefix, f"{text}{prefix}{text}"):
            under = {start, f"{start}1", f"{start}{text}", f"{start}\U0010ffff", f"{start}\x00"}
            for key in under | {start[:-1], f"{start[:-1]}!"}:
                await kv.set(key, b"value")
            seen: list[str] = []
            token = ""
            while True:
                page = await kv.scan(start, page_size=2, page_token=token)
                seen += page.keys
                token = page.next_token
                if not token:
                    break
            # The shorter key may be the start of another test case.
            await kv.delete(start[:-1])
            assert set(seen) == under

    @pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
    async def test_every_write_and_every_read_keeps_the_value_byte_for_byte(
        self, backend: Backend, prefix: str, value: bytes
    ) -> None:
        kv = backend.kv
        for by, write in writes_of(backend.profile).items():
            for turn in ("new", "overwritten"):
                version = await write(kv, f"{prefix}{by}", value)
                for name, read in reads_of(backend.profile).items():
                    entry = await read(kv, f"{prefix}{by}")
                    assert entry is not None, f"{name} after {by}, {turn}"
                    # Compared here, because pytest would show a megabyte.
                    kept = entry.value == value
                    assert kept, f"{name} after {by}, {turn}: {len(entry.value)} bytes differ"
                    assert entry.version == version, f"{name} after {by}, {turn}"
            await kv.delete(f"{prefix}{by}")
