"""valkey-glide: commands, batches, and scans."""

import asyncio
import sys

from glide import (
    Batch,
    ConditionalChange,
    ExpirySet,
    ExpiryType,
    GlideClient,
    GlideClientConfiguration,
    NodeAddress,
)


async def main() -> None:
    address = NodeAddress("127.0.0.1", int(sys.argv[1]))
    client = await GlideClient.create(GlideClientConfiguration([address], request_timeout=10_000))
    await client.flushdb()
    assert await client.set("a", "1", expiry=ExpirySet(ExpiryType.SEC, 100)) == "OK"
    only_new = ConditionalChange.ONLY_IF_DOES_NOT_EXIST
    assert await client.set("a", "2", conditional_set=only_new) is None
    assert await client.get("a") == b"1"
    assert 98 <= await client.ttl("a") <= 100
    assert await client.incrby("n", 5) == 5
    assert await client.mset({"x": "1", "y": "2"}) == "OK"
    assert await client.mget(["x", "y", "z"]) == [b"1", b"2", None]
    batch = Batch(is_atomic=False)
    batch.set("b", "1").incr("b").get("b")
    assert await client.exec(batch, raise_on_error=True) == ["OK", 2, b"2"]
    cursor, found = await client.scan(b"0", match="[xy]")
    while cursor != b"0":
        cursor, more = await client.scan(cursor, match="[xy]")
        found += more
    assert sorted(found) == [b"x", b"y"]
    assert await client.delete(["a", "x", "y"]) == 3
    await client.close()


asyncio.run(main())
