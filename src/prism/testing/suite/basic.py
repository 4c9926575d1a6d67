"""Group Basic: the mandatory part."""

from __future__ import annotations

import pytest

from prism.ports import FullKeyValue
from prism.testing.suite.bulk import Bulk
from prism.testing.suite.group import group
from prism.testing.suite.keys import Keys

AWKWARD_VALUES = {
    "every byte": bytes(range(256)),
    "only a nul": b"\x00",
    "nul at the end": b"a\x00",
    "no utf-8": b"\xff\xfe\xc3\x28",
    "line ends": b"\r\n\n\r",
    "protocol": b"$3\r\nfoo\r\n",
    "looks like a number": b"007",
    "looks like nothing": b"None",
}


@group()
class Basic(Keys, Bulk):
    """get, set, delete, exists."""

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

    async def test_set_answers_the_version_that_get_shows(self, kv: FullKeyValue, key: str) -> None:
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
        assert await kv.set(key, b"one") != await kv.set(key, b"two")

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

    async def test_delete_of_an_existing_key_says_so(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.delete(key) is True

    async def test_a_deleted_key_is_absent(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        assert await kv.get(key) is None

    async def test_delete_of_an_absent_key_is_no_error(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.delete(key) is False
        assert await kv.get(key) is None

    async def test_the_second_delete_finds_nothing(self, kv: FullKeyValue, key: str) -> None:
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

    async def test_exists_of_an_existing_key(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        assert await kv.exists(key) is True

    async def test_exists_of_an_absent_key(self, kv: FullKeyValue, key: str) -> None:
        assert await kv.exists(key) is False

    async def test_exists_of_a_deleted_key(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"value")
        await kv.delete(key)
        assert await kv.exists(key) is False

    async def test_a_prefix_of_a_key_does_not_exist(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(f"{key}/child", b"value")
        assert await kv.exists(key) is False
        assert await kv.get(key) is None
