"""dogpile.cache: regions with a lock in the process, and with a distributed lock."""

import sys

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

for distributed in (False, True):
    region = make_region(key_mangler=lambda key: f"dogpile:{key}").configure(
        "dogpile.cache.redis",
        expiration_time=60,
        arguments={
            "host": "127.0.0.1",
            "port": int(sys.argv[1]),
            "distributed_lock": distributed,
            "redis_expiration_time": 100,
            "thread_local_lock": False,
        },
    )
    region.delete_multi(["a", "x", "y"])
    calls = []

    def create(calls: list[int] = calls) -> int:
        calls.append(1)
        return 42

    assert region.get_or_create("a", create) == region.get_or_create("a", create) == 42
    assert calls == [1]
    region.set_multi({"x": 1, "y": 2})
    assert region.get_multi(["x", "y", "z"]) == [1, 2, NO_VALUE]
    region.delete("a")
    assert region.get("a") is NO_VALUE
