"""py-key-value: `RedisStore`."""

import asyncio
import sys

from key_value.aio.stores.redis import RedisStore


async def main() -> None:
    async with RedisStore(host="127.0.0.1", port=int(sys.argv[1])) as store:
        await store.put("a", {"b": 1}, ttl=100)
        assert await store.get("a") == {"b": 1}
        value, left = await store.ttl("a")
        assert value == {"b": 1}
        assert 98 <= left <= 100
        await store.put_many(["x", "y"], [{"n": 1}, {"n": 2}], collection="c")
        found = await store.get_many(["x", "y", "z"], collection="c")
        assert found == [{"n": 1}, {"n": 2}, None]
        assert await store.delete_many(["x", "y", "z"], collection="c") == 2
        assert await store.delete("a")
        assert await store.get("a") is None


asyncio.run(main())
