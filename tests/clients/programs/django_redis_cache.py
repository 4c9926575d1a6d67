"""django-redis: its cache backend, its lock, and its commands on patterns of keys."""

import sys

from django.conf import settings

settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{sys.argv[1]}/0",
        }
    }
)

from django.core.cache import cache  # noqa: E402

cache.clear()
assert cache.set("a", {"b": [1]}, timeout=100)
assert cache.get("a") == {"b": [1]}
assert 98 <= cache.ttl("a") <= 100
assert not cache.add("a", 2)
assert cache.set("n", 1)
assert cache.incr("n", 4) == 5
assert cache.touch("a", 200)
assert cache.persist("a")
assert cache.ttl("a") is None
cache.set_many({"x:1": 1, "x:2": 2})
assert cache.get_many(["x:1", "x:2", "x:3"]) == {"x:1": 1, "x:2": 2}
assert sorted(cache.keys("x:*")) == ["x:1", "x:2"]
assert sorted(cache.iter_keys("x:*")) == ["x:1", "x:2"]
assert cache.delete_pattern("x:*") == 2
with cache.lock("lock", timeout=30):
    pass
assert cache.delete("a")
assert cache.get("a", "none") == "none"
