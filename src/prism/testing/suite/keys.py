"""Group Basic: keys are text, and nothing in them means anything."""

from __future__ import annotations

import secrets
import unicodedata

import pytest

from prism.ports import MAX_KEY_BYTES, FullKeyValue
from prism.testing.suite.group import Group, group

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
    "right to left": "\u202eabc\u05d0",
    "byte order mark": "\ufeffa",
    "percent and underscore": "a%b_c%20",
    "braces and dollars": "{a}${b}#{c}",
    "looks like a path": "../../etc/passwd",
    "looks like a command": "\r\nDEL a\r\n",
}

LOOKALIKES = {
    "composition": ("caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")),
    "case": ("Key", "key"),
    "trailing space": ("key", "key "),
    "trailing nul": ("key", "key\x00"),
    "full width": ("a", "\uff41"),
    "percent encoding": ("a/b", "a%2Fb"),
    "escape": ("a\nb", "a\\nb"),
    "glob": ("a*", "ab"),
    "hexadecimal": ("a", "61"),
}


@group()
class Keys(Group):
    """Every character is allowed, and none means anything."""

    @pytest.mark.parametrize("text", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS.keys())
    async def test_every_character_is_allowed_in_a_key(
        self, kv: FullKeyValue, prefix: str, text: str
    ) -> None:
        for name in (prefix + text, text + prefix):
            await kv.set(name, text.encode())
            entry = await kv.get(name)
            assert entry is not None
            assert entry.value == text.encode()

    async def test_keys_of_any_characters_exist_until_deleted(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        for text in AWKWARD_KEYS.values():
            name = prefix + text
            await kv.set(name, b"value")
            assert await kv.exists(name) is True
            assert await kv.delete(name) is True
            assert await kv.exists(name) is False

    @pytest.mark.parametrize("pair", LOOKALIKES.values(), ids=LOOKALIKES.keys())
    async def test_keys_that_look_alike_are_different(
        self, kv: FullKeyValue, prefix: str, pair: tuple[str, str]
    ) -> None:
        one, other = (prefix + text for text in pair)
        await kv.set(one, b"one")
        assert await kv.get(other) is None
        await kv.set(other, b"other")
        entry = await kv.get(one)
        assert entry is not None
        assert entry.value == b"one"

    async def test_a_key_of_one_byte(self, kv: FullKeyValue) -> None:
        # Too short to be this test's own, so it leaves nothing behind.
        name = secrets.choice("abcdefghijklmnopqrstuvwxyz")
        await kv.set(name, b"value")
        entry = await kv.get(name)
        assert entry is not None
        assert entry.value == b"value"
        assert await kv.delete(name) is True

    @pytest.mark.parametrize("character", ["k", "*", "\x00", "é", "€", "🔑"])
    async def test_a_key_of_1024_bytes(self, kv: FullKeyValue, prefix: str, character: str) -> None:
        width = len(character.encode())
        body = character * ((MAX_KEY_BYTES - len(prefix)) // width)
        name = prefix + body + "x" * (MAX_KEY_BYTES - len((prefix + body).encode()))
        assert len(name.encode()) == MAX_KEY_BYTES
        await kv.set(name, b"value")
        entry = await kv.get(name)
        assert entry is not None
        assert entry.value == b"value"
        assert await kv.exists(name[:-1]) is False
