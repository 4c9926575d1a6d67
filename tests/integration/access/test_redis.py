"""The policy at the Redis port: AUTH shows a token, and callers reach only their own keys."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.integration.access.conftest import POLICY, Guarded, Serve

pytestmark = pytest.mark.parametrize("transport", ["h2corn"], indirect=True)


async def transaction(client: Any) -> None:
    async with client.pipeline(transaction=True) as pipe:
        pipe.set("orders/2", b"x")
        pipe.set("stock/1", b"x")
        await pipe.execute()


# Ways to learn of a key of somebody else, or to change it.
ATTEMPTS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "get": lambda client: client.get("stock/1"),
    "mget": lambda client: client.mget("orders/1", "stock/1"),
    "exists": lambda client: client.exists("stock/1"),
    "ttl": lambda client: client.ttl("stock/1"),
    "strlen": lambda client: client.strlen("stock/1"),
    "set": lambda client: client.set("stock/1", b"x"),
    "set nx": lambda client: client.set("stock/1", b"x", nx=True),
    "mset": lambda client: client.mset({"stock/1": b"x", "stock/2": b"x"}),
    "getdel": lambda client: client.getdel("stock/1"),
    "append": lambda client: client.append("stock/1", b"x"),
    "incr": lambda client: client.incr("stock/1"),
    "expire": lambda client: client.expire("stock/1", 1),
    "delete": lambda client: client.delete("stock/1"),
    "rename": lambda client: client.rename("stock/1", "orders/1"),
    "watch": lambda client: client.execute_command("WATCH", "stock/1"),
    "scan": lambda client: client.scan(match="stock/*"),
    "scan all": lambda client: client.scan(),
    "keys": lambda client: client.keys("*"),
    "dbsize": lambda client: client.dbsize(),
    "randomkey": lambda client: client.randomkey(),
    "flush scripts": lambda client: client.script_flush(),
    "lock": lambda client: client.lock("stock/1", timeout=1).acquire(blocking=False),
    "transaction": transaction,
}


@asynccontextmanager
async def client_of(server: Guarded, **options: Any) -> AsyncIterator[Any]:
    host, _, port = server.redis_address.rpartition(":")
    # A refused login is a lost connection to redis-py, which would repeat it.
    client = Redis(host=host, port=int(port), retry=Retry(NoBackoff(), 0), **options)
    try:
        yield client
    finally:
        await client.aclose()


async def test_an_application_reaches_only_its_own_keys(serve: Serve) -> None:
    server = await serve(resp_port=0)
    async with (
        client_of(server, username="orders", password=server.tokens["orders"]) as orders,
        client_of(server, password=server.tokens["stock"], protocol=3) as stock,
    ):
        await orders.set("orders/1", b"mine", ex=60)
        assert await orders.keys("orders/*") == [b"orders/1"]
        answers: dict[str, str] = {}
        for present in (False, True):
            if present:
                await stock.set("stock/1", b"secret")
            for name, attempt in ATTEMPTS.items():
                with pytest.raises(NoPermissionError) as refused:
                    await attempt(orders)
                # What the caller is told does not depend on what is stored.
                assert answers.setdefault(name, str(refused.value)) == str(refused.value)
        assert await stock.get("stock/1") == b"secret"
        assert await orders.exists("orders/2") == 0
        # Nothing tells what the others do.
        assert {"keys", "connected_clients", "used_memory"}.isdisjoint(await orders.info())
        assert [each["user"] for each in await orders.client_list()] == ["orders"]
        # Who sends only a password is known by the name of the token.
        assert (await stock.client_info())["user"] == "stock"
        await stock.execute_command("RESET")
        assert (await stock.client_info())["user"] == "default"
    async with client_of(server, password=server.tokens["alice"]) as alice:
        assert await alice.dbsize() == 2
        assert "connected_clients" in await alice.info()


async def test_who_is_not_known_is_refused(serve: Serve) -> None:
    server = await serve(resp_port=0)
    async with client_of(server) as nobody:
        assert await nobody.ping()
        with pytest.raises(AuthenticationError, match="callers without credentials"):
            await nobody.get("orders/1")
    token = server.tokens["orders"]
    for options in (
        {"password": "prism_wrong"},
        {"password": token, "username": "stock"},
        {"password": "prism_wrong", "protocol": 3},
    ):
        async with client_of(server, **options) as wrong:
            with pytest.raises(
                AuthenticationError, match="the token is not valid, or not of this user"
            ):
                await wrong.get("orders/1")


async def test_a_reset_and_a_removed_token_end_what_a_connection_may_do(serve: Serve) -> None:
    server = await serve(resp_port=0)
    token = server.tokens["orders"]
    async with client_of(server, single_connection_client=True) as client:
        connection = client.connection
        # In one write, so that one step of the server runs all of them.
        words = [("AUTH", "orders", token), ("GET", "orders/1"), ("RESET",), ("GET", "orders/1")]
        await client.initialize()
        connection = client.connection
        await connection.send_packed_command(connection.pack_commands(words))
        assert await connection.read_response() == b"OK"
        assert await connection.read_response() is None
        assert await connection.read_response() == b"RESET"
        with pytest.raises(AuthenticationError):
            await connection.read_response()
    async with client_of(server, password=token) as client:
        await client.set("orders/1", b"")
        server.write_tokens(alice=server.tokens["alice"])
        await server.reload()
        with pytest.raises(AuthenticationError, match="not valid any more"):
            await client.get("orders/1")


async def test_callers_on_a_unix_socket_are_the_user_of_the_server(
    serve: Serve, tmp_path: Path
) -> None:
    policy = f'[[rules]]\nwho = "uid:{os.getuid()}"\nmay = ["read", "write"]\n'
    await serve(policy, resp_socket=tmp_path / "s")
    client = Redis(unix_socket_path=str(tmp_path / "s"))
    await client.set("k", b"v")
    with pytest.raises(NoPermissionError, match=f"uid:{os.getuid()} delete"):
        await client.delete("k")
    await client.aclose()


async def test_quotas_are_refused_in_the_words_of_redis(serve: Serve) -> None:
    quotas = (
        '[[quotas]]\nwho = "token:orders"\noperations_per_second = 1\nconnections = 1\n'
        '[[quotas]]\nwho = "anonymous"\nconnections = 1\n'
    )
    server = await serve(f"{POLICY}\n{quotas}", resp_port=0)
    host, _, port = server.redis_address.rpartition(":")

    async def answers(*lines: str) -> tuple[list[bytes], asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write("".join(f"{line}\r\n" for line in lines).encode())
        async with asyncio.timeout(30):
            replies = [await reader.readline() for _ in lines]
        return [each for each in replies if each], writer

    login = f"AUTH orders {server.tokens['orders']}"
    first, one = await answers(login, "EXISTS orders/1", "EXISTS orders/1")
    assert first[:2] == [b"+OK\r\n", b":0\r\n"]
    assert first[2].startswith(b"-BUSY the quota of operations a second of this caller is used up")
    # It is somebody else until it logs in, and so it is after a refused login.
    second, two = await answers(login, "PING")
    assert second[0].startswith(b"-BUSY the quota of connections of this caller is used up")
    assert second[1] == b"+PONG\r\n"
    third, three = await answers("PING")
    assert third == [second[0]]
    # Connections without a token keep nobody from showing one.
    fourth, four = await answers(f"AUTH stock {server.tokens['stock']}")
    assert fourth == [b"+OK\r\n"]
    for writer in (one, two, three, four):
        writer.close()

    async def log_in() -> bool:
        replies, writer = await answers(login)
        writer.close()
        return replies == [b"+OK\r\n"]

    async with asyncio.timeout(30):
        while not await log_in():
            await asyncio.sleep(0.05)
