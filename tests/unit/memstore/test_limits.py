from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

import pytest

from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.ports import (
    Condition,
    Delete,
    Exhausted,
    HealthStatus,
    InvalidArgument,
    Lifetime,
    Presence,
    Put,
)

Open = Callable[[MemstoreSettings], Awaitable[Memstore]]
SECOND = timedelta(seconds=1)


class Clock(Protocol):
    def advance(self, seconds: float) -> None: ...


async def details(memstore: Memstore) -> dict[str, str]:
    return dict((await memstore.health()).details)


async def test_a_new_key_above_max_keys_is_refused(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=2))
    await memstore.set("a", b"1")
    await memstore.set("b", b"2")
    with pytest.raises(Exhausted, match="raise the setting max_keys"):
        await memstore.set("c", b"3")
    assert await memstore.get("c") is None
    assert (await details(memstore))["keys"] == "2"


async def test_a_transaction_has_room_for_all_of_its_writes_or_none(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=3, max_bytes=30))
    await memstore.set("a", b"12345")
    await memstore.apply([], [Put("b", b"12345"), Put("c", b"12345")])
    before = [await memstore.get(key) for key in "abcd"]
    for writes in (
        # A key too many, and a byte too many, after writes that fit.
        [Put("a", b""), Put("d", b"")],
        [Put("a", b"123456789"), Put("b", b"123456789"), Put("c", b"1234567890")],
    ):
        with pytest.raises(Exhausted, match="max_keys is 3 and max_bytes is 30"):
            await memstore.apply([], writes)
        assert [await memstore.get(key) for key in "abcd"] == before
    # What the deletes and the smaller values free counts, wherever they stand.
    await memstore.apply([], [Put("d", b"1234567890"), Put("b", b"123456789"), Delete("a")])
    assert (await details(memstore))["bytes"] == "27"
    await memstore.apply([], [Put("b", b"123456789012345"), Put("d", b"12345"), Delete("a")])
    assert (await details(memstore))["bytes"] == "28"


async def test_a_transaction_takes_the_room_of_expired_keys(
    open_memstore: Open, clock: Clock
) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=3, max_bytes=12))
    for key in "abc":
        await memstore.set(key, b"123", ttl=SECOND)
    clock.advance(2)
    results = await memstore.apply([], [Put("a", b"123"), Delete("b"), Put("e", b"1234567")])
    assert results[1] is False
    assert (await details(memstore))["bytes"] == "12"


async def test_a_write_above_max_bytes_is_refused(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_bytes=10))
    await memstore.set("é", b"12345678")
    with pytest.raises(Exhausted, match="raise the setting max_bytes"):
        await memstore.set("b", b"")
    assert (await details(memstore))["bytes"] == "10"


async def test_a_refused_overwrite_changes_neither_value_nor_ttl(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_bytes=4))
    version = await memstore.set("a", b"123", ttl=SECOND)
    with pytest.raises(Exhausted):
        await memstore.set("a", b"1234")
    entry = await memstore.get("a")
    assert entry is not None
    assert (entry.value, entry.version) == (b"123", version)
    assert await memstore.ttl("a") == Lifetime(SECOND)


async def test_an_overwrite_that_does_not_grow_works_at_the_limits(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1, max_bytes=4))
    await memstore.set("a", b"123")
    await memstore.set("a", b"321")
    await memstore.set("a", b"1")
    assert (await details(memstore))["bytes"] == "2"


async def test_a_delete_makes_room(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1, max_bytes=4))
    await memstore.set("a", b"123")
    assert await memstore.delete("a")
    await memstore.set("b", b"123")


async def test_an_increment_obeys_the_limits(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1, max_bytes=2))
    await memstore.increment("n", 9)
    with pytest.raises(Exhausted):
        await memstore.increment("n")
    with pytest.raises(Exhausted):
        await memstore.increment("m")
    assert (await memstore.increment("n", -1)).value == 8


@pytest.mark.parametrize("passed", [1, 1.046875, 100, 100_000])
async def test_expired_keys_never_cause_a_refusal(
    open_memstore: Open, clock: Clock, passed: float
) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=300, max_bytes=1200))
    for i in range(300):
        await memstore.set(f"{i:03}", b"1", ttl=SECOND)
    clock.advance(passed)
    for i in range(300):
        await memstore.set(f"{i:03x}", b"2")
    with pytest.raises(Exhausted):
        await memstore.set("one more", b"")


async def test_an_expired_key_can_be_written_again_at_the_limit(
    open_memstore: Open, clock: Clock
) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1, max_bytes=4))
    await memstore.set("a", b"12", ttl=SECOND)
    clock.advance(1)
    await memstore.set("a", b"123")
    assert (await details(memstore)) | {"keys": "1", "bytes": "4"} == await details(memstore)


async def test_only_the_items_of_a_batch_that_exceed_a_limit_fail(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1))
    first, second, third = await memstore.set_many([Put("a", b"1"), Put("b", b"2"), Put("a", b"3")])
    assert isinstance(second, Exhausted)
    assert not isinstance(first, Exhausted)
    entry = await memstore.get("a")
    assert entry is not None
    assert (entry.value, entry.version) == (b"3", third)


async def test_health_is_degraded_from_90_percent_of_a_limit(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=10))
    for i in range(8):
        await memstore.set(str(i), b"")
    assert (await memstore.health()).status is HealthStatus.HEALTHY
    await memstore.set("9", b"")
    health = await memstore.health()
    assert health.status is HealthStatus.DEGRADED
    assert "9 of 10 keys" in health.message


async def test_health_reports_keys_bytes_and_limits(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=10))
    await memstore.set("é", b"123", ttl=SECOND)
    reported = await details(memstore)
    assert reported["keys"] == "1"
    assert reported["keys_with_ttl"] == "1"
    assert reported["bytes"] == "5"
    assert reported["max_keys"] == "10"
    assert reported["max_bytes"] == "unlimited"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_keys", -1, "max_keys: -1 is not allowed, use 0"),
        ("max_bytes", -5, "max_bytes: -5 is not allowed, use 0"),
        ("max_value_bytes", 0, "max_value_bytes: 0 is not allowed, use 1"),
    ],
)
def test_an_invalid_setting_is_refused(name: str, value: int, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        MemstoreSettings(**{name: value})


async def test_the_limit_on_values_is_in_the_profile(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_value_bytes=77))
    assert memstore.profile.limits.max_value_bytes == 77


async def test_a_transaction_of_conditions_alone_works_with_limits(open_memstore: Open) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1))
    assert await memstore.apply([Condition("k", Presence.ABSENT)], []) == []
