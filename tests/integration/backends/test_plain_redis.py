"""redis-cli and the command line of Prism, on the same keys."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.integration.backends.conftest import Deploy, Deployment
from tests.servers.redis import RedisServer


def redis_cli(deployment: Deployment, *command: str) -> str:
    """Return the output of redis-cli; if it is not installed, the reply to redis-py."""
    backend = deployment.backend
    assert isinstance(backend, RedisServer)
    program = shutil.which("redis-cli")
    if program is None:
        reply = backend.ask(*command)
        return reply.decode() if isinstance(reply, bytes) else str(reply)
    done = subprocess.run(
        [program, "-p", str(backend.port), *command], capture_output=True, check=True, text=True
    )
    return done.stdout.removesuffix("\n")


@pytest.fixture
def redis(deploy: Deploy) -> Deployment:
    return deploy("redis")


def test_redis_cli_shows_what_prism_wrote(redis: Deployment) -> None:
    assert redis.cli("kv", "set", "greeting", "hello, world", "--ttl", "1h").returncode == 0
    assert redis_cli(redis, "GET", "prism:greeting") == "hello, world"
    assert 3500 < int(redis_cli(redis, "TTL", "prism:greeting")) <= 3600


def test_prism_shows_what_redis_cli_wrote(redis: Deployment) -> None:
    redis_cli(redis, "SET", "prism:greeting", "hello", "EX", "3600")
    assert redis.cli("kv", "get", "greeting").stdout == b"hello"
    assert redis.cli("kv", "ttl", "greeting").stdout.startswith((b"36", b"35"))
    assert redis.cli("kv", "scan", "gree").stdout == b"greeting\n"
    redis_cli(redis, "INCR", "prism:visits")
    assert redis.cli("kv", "incr", "visits").stdout == b"2\n"
    assert redis_cli(redis, "GET", "prism:visits") == "2"
