"""redis-py hears of changed keys, and keeps a cache of its own that forgets them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
from redis.cache import CacheConfig, CacheKey

from tests.integration.conftest import TIMEOUT_S


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_hears_of_changes(redis_port: int, protocol: int) -> None:
    with redis.Redis(port=redis_port, protocol=protocol) as client, client.pubsub() as pubsub:
        pubsub.psubscribe("__keyspace@0__:user:*")
        pubsub.subscribe("__keyevent@0__:del")
        assert [_next(pubsub)["type"] for _ in range(2)] == ["psubscribe", "subscribe"]
        client.set("user:1", "x")
        client.set("other", "x")
        client.delete("user:1")
        messages = [_next(pubsub) for _ in range(3)]
        # Each subscription is in order; two of them are not, with each other.
        assert [m["data"] for m in messages if m["type"] == "pmessage"] == [b"set", b"del"]
        assert [m["data"] for m in messages if m["type"] == "message"] == [b"user:1"]


def test_the_cache_of_redis_py_forgets_what_others_change(redis_port: int) -> None:
    with (
        redis.Redis(port=redis_port, protocol=3, cache_config=CacheConfig()) as reader,
        redis.Redis(port=redis_port) as writer,
    ):
        writer.set("k", "1")
        assert reader.get("k") == b"1"
        cache = reader.get_cache()
        assert cache is not None
        (cached,) = cache.collection
        assert isinstance(cached, CacheKey)
        assert cached.redis_keys == ("k",)
        writer.set("k", "2")
        _until(lambda: reader.get("k") == b"2")
        writer.delete("k")
        _until(lambda: reader.get("k") is None)


def _next(pubsub: redis.client.PubSub) -> dict[str, Any]:
    message = pubsub.get_message(timeout=TIMEOUT_S)
    assert message is not None
    return cast("dict[str, Any]", message)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
