"""Other Redis clients read and write the same keys, and their own keys stay untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest
import redis

from prism.ports import (
    Condition,
    Delete,
    Entry,
    FullKeyValue,
    Lifetime,
    PreconditionFailed,
    Presence,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from tests.integration.redis.conftest import Open
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.xdist_group("redis")


async def test_other_client_reads_what_prism_wrote(kv: FullKeyValue, raw: redis.Redis) -> None:
    await kv.set("greeting", b"hello\x00\xff", ttl=timedelta(minutes=5))
    assert raw.get("prism:greeting") == b"hello\x00\xff"
    assert raw.type("prism:greeting") == b"string"
    assert 299_000 < raw.pttl("prism:greeting") <= 300_000


async def test_prism_reads_what_another_client_wrote(kv: FullKeyValue, raw: redis.Redis) -> None:
    raw.set("prism:greeting", "hello", pxat=4_102_444_800_000)
    entry = await kv.get("greeting")
    assert entry is not None
    assert (entry.value, entry.expires_at_ms) == (b"hello", 4_102_444_800_000)
    assert entry.version == await kv.compare_and_set("greeting", b"hello", expected=entry.version)


async def test_version_depends_on_the_value_and_not_on_the_writer(
    kv: FullKeyValue, raw: redis.Redis
) -> None:
    version = await kv.set("key", b"A")
    raw.set("prism:key", "B")
    with pytest.raises(VersionConflict):
        await kv.compare_and_set("key", b"C", expected=version)
    raw.set("prism:key", "A")
    await kv.compare_and_set("key", b"C", expected=version)


async def test_prism_and_another_client_increment_the_same_number(
    kv: FullKeyValue, raw: redis.Redis
) -> None:
    raw.set("prism:hits", 41, ex=100)
    assert (await kv.increment("hits")).value == 42
    assert raw.incr("prism:hits") == 43
    assert await kv.ttl("hits") != Lifetime()


@pytest.mark.parametrize("text", ["007", "+1", "1.0", "-0", " 1", "9223372036854775808", ""])
async def test_number_in_another_form_is_refused(
    kv: FullKeyValue, raw: redis.Redis, text: str
) -> None:
    raw.set("prism:hits", text)
    with pytest.raises(PreconditionFailed) as refusal:
        await kv.increment("hits")
    assert refusal.value.reason == "NOT_AN_INTEGER"
    assert raw.get("prism:hits") == text.encode()


async def test_key_prefix_may_be_empty(
    redis_server: RedisServer, raw: redis.Redis, open_redis: Open
) -> None:
    async with open_redis(redis_server.url, key_prefix="") as backend:
        await backend.kv.set("bare", b"value")
        assert raw.get("bare") == b"value"
        assert list((await backend.kv.scan("ba")).keys) == ["bare"]


async def test_keys_with_another_prefix_are_not_scanned(kv: FullKeyValue, raw: redis.Redis) -> None:
    raw.set("other:key", "value")
    raw.set("prism", "value")
    raw.set("prism:", "value")
    assert list((await kv.scan()).keys) == []


async def test_key_that_is_not_utf8_is_not_scanned(kv: FullKeyValue, raw: redis.Redis) -> None:
    raw.set(b"prism:\xff\xfe", "value")
    await kv.set("text", b"value")
    page = await kv.scan(values=True)
    assert (list(page.keys), page.next_token) == (["text"], "")


async def _only(outcomes: Awaitable[Sequence[object]]) -> object:
    (outcome,) = await outcomes
    if isinstance(outcome, PrismError):
        raise outcome
    return outcome


_HOUR = timedelta(hours=1)

ON_A_LIST: dict[str, Callable[[FullKeyValue], Awaitable[object]]] = {
    "get": lambda kv: kv.get("key"),
    "set": lambda kv: kv.set("key", b"value"),
    "delete": lambda kv: kv.delete("key"),
    "exists": lambda kv: kv.exists("key"),
    "expire": lambda kv: kv.expire("key", _HOUR),
    "ttl": lambda kv: kv.ttl("key"),
    "persist": lambda kv: kv.persist("key"),
    "if version": lambda kv: kv.compare_and_set("key", b"value", expected=Version(7)),
    "compare and delete": lambda kv: kv.compare_and_delete("key", expected=Version(7)),
    "increment": lambda kv: kv.increment("key"),
    "get_many": lambda kv: _only(kv.get_many(["key"])),
    "set_many": lambda kv: _only(kv.set_many([Put("key", b"value")])),
    "delete_many": lambda kv: _only(kv.delete_many(["key"])),
    "condition": lambda kv: kv.apply([Condition("key", Presence.ABSENT)], [Put("new", b"value")]),
    "put of a transaction": lambda kv: kv.apply([], [Put("new", b"1"), Put("key", b"value")]),
    "delete of a transaction": lambda kv: kv.apply([], [Put("new", b"1"), Delete("key")]),
}


@pytest.mark.parametrize("call", ON_A_LIST.values(), ids=ON_A_LIST.keys())
async def test_key_of_another_type_fails_and_is_unchanged(
    kv: FullKeyValue, raw: redis.Redis, call: Callable[[FullKeyValue], Awaitable[object]]
) -> None:
    raw.rpush("prism:key", "one", "two")
    with pytest.raises(PreconditionFailed) as refusal:
        await call(kv)
    assert refusal.value.reason == "WRONG_TYPE"
    assert raw.lrange("prism:key", 0, -1) == [b"one", b"two"]
    assert raw.ttl("prism:key") == -1
    assert not raw.exists("prism:new")


async def test_key_of_another_type_is_not_absent(kv: FullKeyValue, raw: redis.Redis) -> None:
    raw.rpush("prism:key", "one")
    with pytest.raises(VersionConflict):
        await kv.compare_and_set("key", b"value", expected=None)
    assert raw.lrange("prism:key", 0, -1) == [b"one"]


async def test_key_of_another_type_is_not_scanned(kv: FullKeyValue, raw: redis.Redis) -> None:
    raw.rpush("prism:list", "one")
    await kv.set("text", b"value")
    page = await kv.scan(values=True)
    assert list(page.keys) == ["text"]


async def test_entry_never_has_the_expiry_of_another_value(
    kv: FullKeyValue, raw: redis.Redis
) -> None:
    persistent, expiring = b"persistent", b"expiring"
    raw.set("prism:key", persistent)
    pipe = raw.pipeline(transaction=False)
    for _ in range(200):
        pipe.set("prism:key", expiring, px=3_600_000)
        pipe.set("prism:key", persistent)

    async def read() -> None:
        for _ in range(20):
            entry = await kv.get("key")
            assert isinstance(entry, Entry)
            assert (entry.value == persistent) == (entry.expires_at_ms is None)

    await asyncio.gather(asyncio.to_thread(pipe.execute), *(read() for _ in range(10)))
