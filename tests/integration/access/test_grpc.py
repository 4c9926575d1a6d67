"""The policy at the gRPC port: two applications share a server and cannot reach each other."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prism
from prism import TLS
from prism.ports import (
    AccessDenied,
    Condition,
    Exhausted,
    Presence,
    PrismError,
    Put,
    Unauthenticated,
    Version,
)
from tests.integration.access.conftest import POLICY, Guarded, Serve
from tests.servers.authority import Authority

# Ways to learn of a key of somebody else, or to change it.
ATTEMPTS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "get": lambda kv: kv.get("stock/1"),
    "exists": lambda kv: kv.exists("stock/1"),
    "ttl": lambda kv: kv.ttl("stock/1"),
    "set": lambda kv: kv.set("stock/1", b"x"),
    "create": lambda kv: kv.compare_and_set("stock/1", b"x", expected=None),
    "compare": lambda kv: kv.compare_and_delete("stock/1", expected=Version(1)),
    "delete": lambda kv: kv.delete("stock/1"),
    "persist": lambda kv: kv.persist("stock/1"),
    "increment": lambda kv: kv.increment("stock/1"),
    "condition": lambda kv: kv.apply([Condition("stock/1", Presence.PRESENT)], []),
    "transaction": lambda kv: kv.apply([], [Put("orders/2", b""), Put("stock/1", b"")]),
    "scan all": lambda kv: kv.scan(),
    "scan theirs": lambda kv: kv.scan("stock/"),
    "scan part": lambda kv: kv.scan("stock/1"),
    "scan like ours": lambda kv: kv.scan("orders"),
    "watch": lambda kv: opened(kv, "stock/"),
    "watch all": lambda kv: opened(kv, ""),
}


async def opened(kv: Any, prefix: str) -> None:
    async with kv.watch(prefix):
        pass


async def test_an_application_reaches_only_its_own_keys(serve: Serve) -> None:
    server = await serve()
    async with server.connect("orders") as orders, server.connect("stock") as stock:
        await orders.set("orders/1", b"mine")
        assert (await orders.scan("orders/")).keys == ["orders/1"]
        answers: dict[str, str] = {}
        for present in (False, True):
            if present:
                await stock.set("stock/1", b"secret")
            for name, attempt in ATTEMPTS.items():
                with pytest.raises(AccessDenied, match="does not let token:orders ") as refused:
                    await attempt(orders)
                # What the caller is told does not depend on what is stored.
                assert answers.setdefault(name, refused.value.message) == refused.value.message
        mine, theirs = await orders.get_many(["orders/1", "stock/1"])
        assert mine is not None
        assert isinstance(theirs, AccessDenied)
        entry = await stock.get("stock/1")
        assert entry.value == b"secret"
        assert await orders.get("orders/2") is None


async def test_a_forged_page_token_shows_no_other_keys(serve: Serve) -> None:
    server = await serve()
    async with server.connect("alice") as alice, server.connect("orders") as orders:
        for prefix in ("orders/", "stock/"):
            await alice.set_many([Put(f"{prefix}{number}", b"") for number in range(30)])
        page = await alice.scan("", page_size=10)
        own = await orders.scan("orders/", page_size=10)
        # A page token with the cursor of one scan and the seal of another.
        forged = base64.urlsafe_b64encode(
            base64.urlsafe_b64decode(own.next_token)[:8]
            + base64.urlsafe_b64decode(page.next_token)[8:]
        ).decode()
        try:
            keys = (await orders.scan("orders/", page_size=30, page_token=forged)).keys
        except PrismError:
            keys = []
        assert [key for key in keys if not key.startswith("orders/")] == []


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "callers without credentials"),
        ("prism_wrong", "the token is not valid: send a valid one"),
    ],
    ids=["none", "wrong"],
)
async def test_who_is_not_known_is_told_what_is_missing(
    serve: Serve, token: str | None, message: str
) -> None:
    server = await serve()
    with pytest.raises(Unauthenticated, match=message):
        async with prism.connect(server.address, token=token):
            pass
    async with prism.connect_admin(server.address, token=token) as admin:
        assert await admin.serving_status() == "SERVING"
        with pytest.raises(Unauthenticated, match=message):
            await admin.lifecycle.health()


async def test_only_administrators_command_the_lifecycle(serve: Serve) -> None:
    server = await serve()
    async with server.connect("orders") as orders, server.connect("alice") as alice:
        with pytest.raises(AccessDenied, match="let token:orders administer this server"):
            await orders.lifecycle.drain()
        await alice.lifecycle.health()


async def test_a_token_is_turned_over_without_a_failed_call(serve: Serve) -> None:
    server = await serve()
    old = server.tokens["orders"]
    async with server.connect("orders") as before:
        await before.set("orders/1", b"1")
        work = [asyncio.create_task(increments(before, f"orders/n{n}")) for n in range(8)]
        lines = (server.folder / "tokens").read_text()
        server.write_tokens(orders="prism_the-new-one")
        (server.folder / "tokens").write_text(lines + "\n" + (server.folder / "tokens").read_text())
        await server.reload()
        async with server.connect("orders") as after:
            assert await after.exists("orders/1")
            await asyncio.gather(*work)
            server.write_tokens(orders="prism_the-new-one")
            await server.reload()
            # On the stream that is open already.
            with pytest.raises(Unauthenticated, match="not valid any more"):
                await before.get("orders/1")
            assert await after.exists("orders/1")
        with pytest.raises(Unauthenticated):
            async with prism.connect(server.address, token=old):
                pass


async def increments(kv: Any, key: str) -> None:
    for _ in range(50):
        await kv.increment(key)


async def test_a_policy_is_turned_over_and_a_bad_one_is_not_taken(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve()
    policy = server.folder / "policy.toml"
    async with server.connect("orders") as orders, orders.watch("orders/") as events:
        await orders.set("orders/1", b"1")
        assert (await anext(events)).key == "orders/1"
        policy.write_text(POLICY + '[[rules]]\nwho = "nobody"\nmay = "read"\n')
        await server.reload()
        assert "who has 'nobody'" in caplog.text
        assert "what was loaded before stays in use" in caplog.text
        assert await orders.exists("orders/1")
        policy.write_text('[[rules]]\nwho = "token:alice"\nrole = "administrator"\n')
        await server.reload()
        with pytest.raises(AccessDenied):
            await orders.get("orders/1")
        async with server.connect("alice") as alice:
            await alice.set("orders/1", b"2")
        with pytest.raises(AccessDenied):
            async with asyncio.timeout(30):
                await anext(events)


async def test_no_log_line_shows_a_token_or_a_key(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "prism")
    server = await serve()
    async with server.connect("orders") as orders:
        with pytest.raises(AccessDenied):
            await orders.get("stock/planted-key")
    with pytest.raises(Unauthenticated):
        async with prism.connect(server.address, token="prism_planted-token"):
            pass
    assert "does not let token:orders read this key" in caplog.text
    assert "a wrong token came from 127.0.0.1" in caplog.text
    for secret in ("planted", *server.tokens.values()):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("subject", "names", "key", "allowed"),
    [
        ("app", "DNS:localhost", "app/1", True),
        ("app", "DNS:localhost", "orders/1", False),
        ("operator", "DNS:localhost", "orders/1", True),
        ("other", "URI:spiffe://prod/reader", "orders/1", False),
    ],
)
async def test_a_certificate_names_its_caller(
    serve: Serve, tmp_path: Path, subject: str, names: str, key: str, allowed: bool
) -> None:
    authority = Authority("test ca")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    cert, private = authority.write(tmp_path, "localhost")
    server = await serve(tls_cert=cert, tls_key=private, tls_client_ca=tmp_path / "ca.pem")
    own_cert, own_key = authority.write(tmp_path, subject, names=names)
    tls = TLS(ca=tmp_path / "ca.pem", cert=own_cert, key=own_key)
    address = server.address.replace("127.0.0.1", "localhost")
    async with prism.connect(address, tls=tls) as kv:
        if allowed:
            await kv.set(key, b"")
        else:
            with pytest.raises(AccessDenied, match=f"let .*cn:{subject} write"):
                await kv.set(key, b"")
        if "spiffe" in names:
            await kv.get(key)


async def test_callers_on_a_unix_socket_are_the_user_of_the_server(
    serve: Serve, tmp_path: Path
) -> None:
    policy = f'[[rules]]\nwho = "uid:{os.getuid()}"\nmay = ["read", "write"]\n'
    server = await serve(policy, grpc_socket=tmp_path / "s")
    async with server.connect() as kv:
        await kv.set("k", b"v")
        with pytest.raises(AccessDenied, match=f"does not let uid:{os.getuid()} delete"):
            await kv.delete("k")


async def test_calls_in_flight_keep_their_own_callers(serve: Serve) -> None:
    server = await serve()

    async def work(server: Guarded, name: str) -> None:
        async with server.connect(name) as kv:
            for number in range(30):
                await asyncio.gather(*(kv.set(f"{name}/{n}", b"%d" % number) for n in range(8)))

    await asyncio.gather(work(server, "orders"), work(server, "stock"))


async def test_a_quota_is_refused_with_the_time_to_wait(serve: Serve) -> None:
    limits = "operations_per_second = 3\nconnections = 1\nwatches = 1"
    server = await serve(f'{POLICY}\n[[quotas]]\nwho = "token:orders"\n{limits}\n')
    async with server.connect("orders") as orders, server.connect("stock") as stock:
        with pytest.raises(Exhausted, match="operations a second of this caller") as raised:
            await asyncio.gather(*(orders.exists("orders/1") for _ in range(20)))
        assert raised.value.retry_after is not None
        assert timedelta() < raised.value.retry_after < timedelta(seconds=10)
        # Another caller is not limited, and this one may have another connection for a watch.
        await asyncio.gather(*(stock.exists("stock/1") for _ in range(20)))
        async with server.connect("orders") as second:
            with pytest.raises(Exhausted, match="quota of connections of this caller"):
                await second.get("orders/1")
    async with server.connect("orders", retry=False) as again:
        await until(lambda: succeeds(again.exists("orders/1")))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.05)


async def succeeds(call: Awaitable[object]) -> bool:
    try:
        await call
    except Exhausted:
        return False
    return True
