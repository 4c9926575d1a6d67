"""cachelib: `RedisCache`."""

import sys

from cachelib import RedisCache

cache = RedisCache("127.0.0.1", int(sys.argv[1]), key_prefix="cachelib:")
assert cache.set("a", {"b": 1}, timeout=100)
assert cache.get("a") == {"b": 1}
assert not cache.add("a", 2)
assert cache.has("a")
assert cache.set_many({"x": 1, "y": 2})
assert cache.get_many("x", "y", "z") == [1, 2, None]
assert cache.inc("n", 5) == 5
assert cache.dec("n", 2) == 3
assert sorted(cache.delete_many("x", "y")) == ["x", "y"]
assert cache.clear()
assert cache.get("a") is None
