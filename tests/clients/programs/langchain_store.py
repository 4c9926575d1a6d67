"""LangChain: the `RedisStore` of bytes."""

import sys

from langchain_community.storage import RedisStore

url = f"redis://127.0.0.1:{sys.argv[1]}"
store = RedisStore(redis_url=url, namespace="langchain", ttl=100)
store.mset([("a", b"1"), ("b", b"2")])
assert store.mget(["a", "b", "c"]) == [b"1", b"2", None]
assert sorted(store.yield_keys()) == ["a", "b"]
assert list(store.yield_keys(prefix="a*")) == ["a"]
store.mdelete(["a", "b"])
assert store.mget(["a"]) == [None]
