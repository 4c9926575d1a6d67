"""redis-py: commands, pipelines, transactions, and Lock, synchronous and with asyncio."""

import asyncio
import sys

import redis
import redis.asyncio

PORT = int(sys.argv[1])


def synchronous(protocol: int) -> None:
    with redis.Redis(port=PORT, protocol=protocol, client_name="check") as client:
        client.flushdb()
        assert client.set("a", "1", ex=100, nx=True)
        assert client.set("a", "2", nx=True) is None
        assert client.get("a") == b"1"
        assert 98 <= client.ttl("a") <= 100
        assert client.incr("n") == 1
        assert client.incrby("n", 41) == 42
        assert client.mset({"b": "1", "c": "2"})
        assert client.mget("b", "c", "d") == [b"1", b"2", None]
        assert sorted(client.scan_iter(match="[abc]")) == [b"a", b"b", b"c"]
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set("p", 1).incr("p").get("p").delete("p", "q")
            assert pipeline.execute() == [True, 2, b"2", 1]
        with client.pipeline() as pipeline:
            pipeline.set("t", 1).incr("t").expire("t", 100)
            assert pipeline.execute() == [True, 2, True]
        with client.lock("lock", timeout=30) as lock:
            assert lock.owned()
            assert not client.lock("lock", timeout=30).acquire(blocking=False)
            assert lock.extend(10)
            assert lock.reacquire()
        assert not lock.owned()
        try:
            client.lpush("list", 1)
        except redis.ResponseError as error:
            assert "unknown command" in str(error)
        else:
            raise AssertionError("LPUSH was served")


async def asynchronous() -> None:
    async with redis.asyncio.Redis(port=PORT, max_connections=500) as client:
        await client.set("count", 0)
        await asyncio.gather(*(client.incr("count") for _ in range(200)))
        assert await client.get("count") == b"200"
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(500):
                pipeline.set(f"key{number}", number)
            assert await pipeline.execute() == [True] * 500
        running = 0

        async def locked() -> None:
            nonlocal running
            async with client.lock("lock", timeout=30, sleep=0.01):
                running += 1
                assert running == 1
                await asyncio.sleep(0.002)
                running -= 1

        await asyncio.gather(*(locked() for _ in range(5)))


for version in (2, 3):
    synchronous(version)
asyncio.run(asynchronous())
