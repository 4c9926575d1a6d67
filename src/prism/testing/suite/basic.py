"""Group basic: get, set, delete and exists; any key, any value, large and many."""

from __future__ import annotations

import random
import re
import secrets
import unicodedata

import pytest

from prism.ports import MAX_KEY_BYTES, FullKeyValue, InvalidArgument, Outcome
from prism.testing.suite.backend import Backend
from prism.testing.suite.calls import gather_bounded
from prism.testing.suite.every_operation import EveryOperation
from prism.testing.suite.group import group
from prism.testing.suite.keys_and_values import AWKWARD_KEYS, KeysAndValues

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

AWKWARD_VALUES = {
    "every byte": bytes(range(256)),
    "only a nul": b"\x00",
    "nul at the end": b"a\x00",
    "not utf-8": b"\xff\xfe\xc3\x28",
    "line ends": b"\r\n\n\r",
    "protocol": b"$3\r\nfoo\r\n",
    "looks like a number": b"007",
    "looks like nothing": b"None",
}


@group()
class Basic(KeysAndValues, EveryOperation):
    """get, set, delete and exists, which every backend implements."""

    async def test_get_returns_what_set_wrote(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"value"

    async def test_get_of_an_absent_key_is_none(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.get(key) is None

    async def test_set_overwrites(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"a longer first value")
        await kv.set(key, b"second")
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"second"

    async def test_set_returns_the_version_that_get_returns(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for value in (b"one", b"two"):
            version = await kv.set(key, value)
            entry = await kv.get(key)
            assert entry is not None
            assert entry.version == version

    async def test_a_version_is_an_unsigned_64_bit_number(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        for number in range(16):
            assert 0 <= await kv.set(f"{prefix}{number}", b"%d" % number) < 1 << 64

    async def test_the_version_changes_with_the_value(self, kv: FullKeyValue, key: str) -> None:
        large = bytes(200_000)
        for one, other in (
            (b"one", b"two"),
            (b"", b"\x00"),
            (b"1" + large, b"2" + large),
            (large + b"1", large + b"2"),
        ):
            assert await kv.set(key, one) != await kv.set(key, other)

    async def test_reading_does_not_change_the_version(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"value")
        await kv.exists(key)
        first, second = await kv.get(key), await kv.get(key)
        assert first is not None
        assert first == second
        assert first.version == version

    async def test_an_entry_without_ttl_has_no_expiry(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        entry = await kv.get(key)
        assert entry is not None
        assert entry.expires_at_ms is None

    async def test_an_empty_value_is_a_value(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"")
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b""

    async def test_a_key_with_an_empty_value_exists(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"")
        assert await kv.exists(key) is True

    async def test_a_key_with_an_empty_value_can_be_deleted(
        self, kv: FullKeyValue, key: str
    ) -> None:
        await kv.set(key, b"")
        assert await kv.delete(key) is True
        assert await kv.get(key) is None

    @pytest.mark.parametrize("value", AWKWARD_VALUES.values(), ids=AWKWARD_VALUES.keys())
    async def test_values_are_kept_byte_for_byte(
        self, kv: FullKeyValue, key: str, value: bytes
    ) -> None:
        await kv.set(key, value)
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == value

    async def test_delete_of_an_existing_key_is_true(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.delete(key) is True

    async def test_a_deleted_key_is_absent(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        assert await kv.get(key) is None

    async def test_delete_of_an_absent_key_is_false(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.delete(key) is False
        assert await kv.get(key) is None

    async def test_a_second_delete_is_false(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        assert await kv.delete(key) is False

    async def test_a_deleted_key_can_be_set_again(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"old")
        await kv.delete(key)
        await kv.set(key, b"new")
        entry = await kv.get(key)
        assert entry is not None
        assert entry.value == b"new"

    async def test_delete_leaves_other_keys_alone(self, kv: FullKeyValue, prefix: str) -> None:
        others = [f"{prefix}key2", f"{prefix}ke", f"{prefix}key/child", f"{prefix}KEY"]
        for other in [f"{prefix}key", *others]:
            await kv.set(other, b"value")
        await kv.delete(f"{prefix}key")
        assert [other for other in others if await kv.get(other) is None] == []

    async def test_exists_of_an_existing_key_is_true(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.exists(key) is True

    async def test_exists_of_an_absent_key_is_false(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.exists(key) is False

    async def test_exists_of_a_deleted_key_is_false(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        assert await kv.exists(key) is False

    async def test_a_prefix_of_a_key_does_not_exist(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(f"{key}/child", b"value")
        assert await kv.exists(key) is False
        assert await kv.get(key) is None

    # Keys: any text, and no character has a meaning

    @pytest.mark.parametrize("text", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS.keys())
    async def test_every_character_is_allowed_in_a_key(
        self, kv: FullKeyValue, prefix: str, text: str
    ) -> None:
        for name in (prefix + text, text + prefix):
            await kv.set(name, text.encode())
            entry = await kv.get(name)
            assert entry is not None
            assert entry.value == text.encode()

    async def test_keys_with_any_character_can_be_deleted(
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

    async def test_a_key_of_one_byte_is_accepted(self, kv: FullKeyValue) -> None:
        # Too short for a prefix, so other tests may use it: leave nothing behind.
        name = secrets.choice("abcdefghijklmnopqrstuvwxyz")
        await kv.set(name, b"value")
        entry = await kv.get(name)
        assert entry is not None
        assert entry.value == b"value"
        assert await kv.delete(name) is True

    @pytest.mark.parametrize("character", ["k", "*", "\x00", "é", "€", "🔑"])
    async def test_a_key_of_1024_bytes_is_stored(
        self, kv: FullKeyValue, prefix: str, character: str
    ) -> None:
        width = len(character.encode())
        body = character * ((MAX_KEY_BYTES - len(prefix)) // width)
        name = prefix + body + "x" * (MAX_KEY_BYTES - len((prefix + body).encode()))
        assert len(name.encode()) == MAX_KEY_BYTES
        await kv.set(name, b"value")
        entry = await kv.get(name)
        assert entry is not None
        assert entry.value == b"value"
        assert await kv.exists(name[:-1]) is False

    # Large values and many keys

    async def test_a_value_at_the_limit_is_stored(self, backend: Backend, key: str) -> None:
        value = random.Random(1).randbytes(backend.profile.limits.max_value_bytes)
        await backend.kv.set(key, value)
        entry = await backend.kv.get(key)
        await backend.kv.delete(key)
        assert entry is not None
        assert entry.value == value

    async def test_the_value_limit_is_at_least_one_mebibyte(self, backend: Backend) -> None:
        assert backend.profile.limits.max_value_bytes >= 1 << 20

    async def test_a_value_over_the_limit_is_refused_with_the_limit_in_the_message(
        self, backend: Backend, key: str
    ) -> None:
        limit = backend.profile.limits.max_value_bytes
        with pytest.raises(InvalidArgument) as refusal:
            await backend.kv.set(key, bytes(limit + 1))
        assert str(limit) in re.sub(r"[,_ ]", "", refusal.value.message)
        assert refusal.value.outcome is Outcome.NOT_APPLIED

    async def test_a_value_over_the_limit_changes_nothing(self, backend: Backend, key: str) -> None:
        before = await backend.kv.set(key, b"value")
        with pytest.raises(InvalidArgument):
            await backend.kv.set(key, bytes(backend.profile.limits.max_value_bytes + 1))
        entry = await backend.kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", before)

    async def test_random_keys_keep_their_random_values(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        chance = random.Random(2)
        alphabet = [chr(point) for point in (*range(0x20), *range(0x30, 0x50), 0xE9, 0x1F511)]
        stored = {
            prefix + "".join(chance.choices(alphabet, k=chance.randint(1, 24))): chance.randbytes(
                chance.choice([0, 1, 16, 255, 4096])
            )
            for _ in range(200)
        }
        await gather_bounded(kv.set(key, value) for key, value in stored.items())
        entries = await gather_bounded(kv.get(key) for key in stored)
        found = {key: entry and entry.value for key, entry in zip(stored, entries, strict=True)}
        assert found == stored

    async def test_a_thousand_keys_keep_their_own_values(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(1000)]
        await gather_bounded(kv.set(key, key.encode()) for key in keys)
        entries = await gather_bounded(kv.get(key) for key in keys)
        wrong = [
            key
            for key, entry in zip(keys, entries, strict=True)
            if entry is None or entry.value != key.encode()
        ]
        assert wrong == []

    async def test_rapid_operations_on_one_key_take_effect_in_order(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for turn in range(100):
            value = b"%d" % turn
            version = await kv.set(key, value)
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (value, version)
            if turn % 3 == 0:
                assert await kv.delete(key) is True
                assert await kv.exists(key) is False
