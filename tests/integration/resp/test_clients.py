"""Clients that nobody here wrote work unchanged, over every kind of connection."""

from __future__ import annotations

import re
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio

from tests.integration.conftest import Server
from tests.integration.resp.conftest import port_of


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(redis_port: int, protocol: int) -> None:
    with redis.Redis(port=redis_port, protocol=protocol, client_name="tests") as client:
        assert client.ping()
        assert client.set("a", "1", ex=100)
        assert client.get("a") == b"1"
        assert 99 <= client.ttl("a") <= 100
        assert client.set("a", "2", nx=True) is None
        assert client.set("a", "2", xx=True, keepttl=True, get=True) == b"1"
        assert client.incrby("n", 5) == 5
        assert client.incrbyfloat("f", 0.5) == 0.5
        assert client.mset({"b": "1", "c": "2"})
        assert client.mget("b", "c", "d") == [b"1", b"2", None]
        assert client.getex("b", px=100_000) == b"1"
        assert client.getdel("c") == b"2"
        assert client.append("b", "xyz") == 4
        assert client.exists("a", "b", "c") == 2
        assert sorted(client.scan_iter(match="[ab]", count=1)) == [b"a", b"b"]
        assert client.dbsize() == 4
        assert client.delete("a", "b", "c") == 2
        assert client.client_getname() in ("tests", b"tests")
        assert client.info("server")["prism_driver"] == "memstore"
        assert client.config_get("save") == {"save": ""}
        with pytest.raises(redis.ResponseError, match="unknown command 'LPUSH'"):
            client.lpush("list", "1")


async def test_redis_py_with_asyncio(redis_port: int) -> None:
    async with redis.asyncio.Redis(port=redis_port) as client:
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(1000):
                pipeline.set(f"key{number}", number)
            for number in range(1000):
                pipeline.get(f"key{number}")
            replies = await pipeline.execute()
        assert replies == [True] * 1000 + [b"%d" % number for number in range(1000)]


def test_a_value_of_a_megabyte_and_one_with_line_ends(redis_port: int) -> None:
    with redis.Redis(port=redis_port) as client:
        for value in (b"x" * 1_000_000, b"a\r\n$3\r\nb\r\n", bytes(range(256)) * 100, b""):
            client.set("value", value)
            assert client.get("value") == value


def test_a_unix_socket(start_server: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    server = start_server("--resp-socket", str(path)).serving()
    assert server.redis_address == f"unix:{path}"
    with redis.Redis(unix_socket_path=str(path)) as client:
        assert client.set("a", "1")
        assert client.get("a") == b"1"
    server.stop()
    assert not path.exists()


def test_tls(
    start_server: Callable[..., Server], certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    server = start_server("--resp-port", "0", "--tls-cert", str(cert), "--tls-key", str(key))
    port = port_of(server.serving())
    with redis.Redis(port=port, ssl=True, ssl_ca_certs=str(cert)) as client:
        client.set("a", b"x" * 500_000)
        assert client.get("a") == b"x" * 500_000
    with redis.Redis(port=port, socket_timeout=5) as plain, pytest.raises(redis.RedisError):
        plain.ping()


def test_a_server_that_ends_closes_connections_and_leaves_none(
    start_server: Callable[..., Server],
) -> None:
    server = start_server("--resp-port", "0").serving()
    with redis.Redis(port=port_of(server)) as client:
        client.ping()
        server.signal(signal.SIGTERM)
        begin = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - begin < 15
        with pytest.raises(redis.ConnectionError):
            client.ping()


def test_settings_that_contradict_are_refused(start_server: Callable[..., Server]) -> None:
    server = start_server("--resp-host", "0.0.0.0")
    assert server.wait() != 0
    assert "resp_host needs resp_port or resp_socket" in server.log
    server.close()


def test_the_page_shows_the_port(serve_backend: Callable[[str], Server], redis_port: int) -> None:
    address = serve_backend("memstore").metrics_address
    with redis.Redis(port=redis_port) as client:
        client.ping()
        with urllib.request.urlopen(f"http://{address}/", timeout=30) as answer:
            page = answer.read().decode()
    assert re.search(
        rf"Redis clients.*?\d+ connections? at 127\.0\.0\.1:{redis_port}", page, re.DOTALL
    )
