"""Flask-Caching: views and functions that it remembers, and its cache itself."""

import sys

from flask import Flask
from flask_caching import Cache

app = Flask("check")
config = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_PORT": int(sys.argv[1])}
cache = Cache(app, config={**config, "CACHE_REDIS_HOST": "127.0.0.1"})
calls = []


@app.route("/")
@cache.cached(timeout=60)
def view() -> str:
    calls.append("view")
    return str(len(calls))


@cache.memoize(60)
def double(number: int) -> int:
    calls.append("double")
    return 2 * number


with app.app_context():
    cache.clear()
    client = app.test_client()
    assert client.get("/").data == client.get("/").data == b"1"
    assert double(2) == double(2) == 4
    assert calls == ["view", "double"]
    cache.delete_memoized(double)
    assert double(2) == 4
    assert calls == ["view", "double", "double"]
    assert cache.set_many({"x": 1, "y": 2})
    assert cache.get_many("x", "y", "z") == [1, 2, None]
