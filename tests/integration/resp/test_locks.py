"""Locks and rate limits of libraries work by their own scripts, without a change."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import redis
import redis.asyncio
from redis.exceptions import LockError, LockNotOwnedError

from prism.adapters.resp.scripts import _KNOWN
from tests.integration.resp.conftest import ServeBackend, port_of


@pytest.mark.parametrize("driver", ["memstore", "sqlite", "redis", "nats"])
def test_the_lock_of_redis_py(driver: str, serve_backend: ServeBackend) -> None:
    with redis.Redis(port=port_of(serve_backend(driver))) as client:
        client.delete("lock")
        lock = client.lock("lock", timeout=100)
        other = client.lock("lock", timeout=100)
        assert lock.acquire(blocking=False)
        assert not other.acquire(blocking=False)
        assert lock.extend(100)
        assert 190 < client.ttl("lock") <= 200
        assert lock.extend(50, replace_ttl=True)
        assert client.ttl("lock") <= 50
        assert lock.reacquire()
        assert 90 < client.ttl("lock") <= 100
        client.set("lock", "stolen", ex=100)
        with pytest.raises(LockNotOwnedError):
            lock.release()
        with pytest.raises(LockError):
            other.release()
        client.delete("lock")
        with other:
            assert client.exists("lock")
        assert not client.exists("lock")


async def test_a_lock_excludes_others(redis_port: int) -> None:
    held = most = count = 0
    async with redis.asyncio.Redis(port=redis_port, max_connections=10) as client:

        async def work() -> None:
            nonlocal held, most, count
            for _ in range(5):
                async with client.lock("lock", timeout=100, sleep=0.002):
                    held += 1
                    most = max(most, held)
                    await asyncio.sleep(0)
                    count += 1
                    held -= 1

        await asyncio.gather(*(work() for _ in range(5)))
    assert (most, count) == (1, 25)


def test_a_fixed_window_counts_and_ends(redis_port: int) -> None:
    (text,) = [text.decode() for run, _, text in _KNOWN if run.__name__ == "_count_in_window"]
    with redis.Redis(port=redis_port) as client:
        count = client.register_script(text)
        assert [count(keys=["window"], args=[100, 2]) for _ in range(3)] == [2, 4, 6]
        assert 90 < client.ttl("window") <= 100


def test_a_known_script_in_another_layout_is_known(redis_port: int) -> None:
    text = (
        "-- of mine\nif redis.call('get', KEYS[1]) == ARGV[1] then return "
        "redis.call('del', KEYS[1])\n else return 0 end"
    )
    with redis.Redis(port=redis_port) as client:
        client.set("lock", "me")
        assert client.eval(text, 1, "lock", "you") == 0
        assert client.eval(text, 1, "lock", "me") == 1
        digest = hashlib.sha1(text.encode()).hexdigest()
        assert client.script_exists(digest, "0" * 40) == [True, False]
        assert client.evalsha(digest, 1, "lock", "me") == 0
        client.script_flush()
        with pytest.raises(redis.exceptions.NoScriptError):
            client.evalsha(digest, 1, "lock", "me")


def test_other_scripts_are_refused_in_words(redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client:
        with pytest.raises(redis.ResponseError, match="Prism runs no Lua"):
            client.eval("return 1", 0)
        with pytest.raises(redis.ResponseError, match="Prism runs no Lua"):
            client.register_script("return 2")()


def test_a_pipeline_of_redis_py_is_a_transaction(redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client, redis.Redis(port=redis_port) as other:
        with client.pipeline() as pipeline:
            assert pipeline.set("a", 1).incr("a").get("a").execute() == [True, 2, b"2"]
        with client.pipeline() as pipeline:
            pipeline.watch("a")
            number = int(pipeline.get("a"))
            other.set("a", 10)
            pipeline.multi()
            pipeline.set("a", number + 1)
            with pytest.raises(redis.WatchError):
                pipeline.execute()

        def set_five(pipeline: redis.client.Pipeline) -> None:
            pipeline.multi()
            pipeline.set("a", 5)

        assert client.transaction(set_five, "a") == [True]
        assert client.get("a") == b"5"
