"""JSON Web Tokens at each door: who shows one is its caller until it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError

import prism
from prism.adapters.jwt.sources import IssuerKeys
from prism.ports import AccessDenied, NotServing, Unauthenticated
from tests.integration.access.conftest import Guarded, Serve
from tests.integration.access.test_http import ask
from tests.servers.issuer import Issuer

POLICY = """
[[rules]]
who = "jwt-group:operators"
role = "administrator"

[[rules]]
who = "jwt:*"
role = "own prefix"
"""

on_h2corn = pytest.mark.parametrize("transport", ["h2corn"], indirect=True)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def serve_with_file(serve: Serve, issuer: Issuer, tmp_path: Path, **settings: Any) -> Guarded:
    """Serve with the keys of an issuer in a file."""
    (tmp_path / "keys.json").write_text(issuer.key_set)
    return await serve(
        POLICY,
        jwt_issuer=issuer.name,
        jwt_audience="prism",
        jwt_keys=tmp_path / "keys.json",
        **settings,
    )


async def set_with(server: Guarded, token: str, key: str = "orders/1") -> None:
    async with prism.connect(server.address, token=token, retry=False) as kv:
        await kv.set(key, b"v")


async def test_a_token_names_its_caller(serve: Serve, issuer: Issuer, tmp_path: Path) -> None:
    server = await serve_with_file(serve, issuer, tmp_path)
    await set_with(server, issuer.token())
    await set_with(server, issuer.token("alice", groups=["operators"]))
    with pytest.raises(AccessDenied, match="does not let jwt:orders write this key"):
        await set_with(server, issuer.token(), "stock/1")
    # Opaque tokens are valid beside them.
    with pytest.raises(AccessDenied, match="does not let token:orders"):
        await set_with(server, server.tokens["orders"])


@pytest.mark.parametrize(
    "case",
    ["expired", "audience", "issuer", "none", "HS256", "unknown key", "other signature", "garbage"],
)
async def test_a_wrong_token_is_refused_in_words(
    serve: Serve, issuer: Issuer, tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve_with_file(serve, issuer, tmp_path)
    token, reason = {
        "expired": (issuer.token(lasts_s=-60), "it has expired"),
        "audience": (issuer.token(aud="other"), "its audience is not prism"),
        "issuer": (issuer.token(iss="https://other"), "its issuer is not https://id"),
        "none": (issuer.unsigned(), "its algorithm is none of RS256"),
        "HS256": (issuer.signed_with_public_key(), "its algorithm is none of RS256"),
        "unknown key": (issuer.token(headers={"kid": "9"}), "it is signed with a key"),
        "other signature": (Issuer().token(), "its signature or its form is wrong"),
        "garbage": ("a.b.c", "it is no JWT"),
    }[case]
    with pytest.raises(Unauthenticated, match=f"the token is not valid: {reason}"):
        await set_with(server, token)
    assert "a wrong token came from 127.0.0.1" in caplog.text
    assert token not in caplog.text


async def test_an_identity_ends_with_its_token_on_open_streams_too(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    server = await serve_with_file(serve, issuer, tmp_path, jwt_clock_skew=timedelta(), resp_port=0)
    token = issuer.token(lasts_s=8)
    ends_at = time.time() + 8
    operator = issuer.token("alice", groups=["operators"])
    host, _, port = server.redis_address.rpartition(":")
    client: Any = Redis(host=host, port=int(port), password=token, retry=Retry(NoBackoff(), 0))
    async with (
        client,
        prism.connect(server.address, token=operator) as alice,
        prism.connect(server.address, token=token, retry=False) as orders,
        orders.watch("orders/") as events,
    ):
        await orders.set("orders/1", b"v")
        assert (await anext(events)).key == "orders/1"
        assert await client.get("orders/1") == b"v"
        with pytest.raises(Unauthenticated, match="it has expired"):
            await _use(orders)
        assert time.time() >= ends_at - 1
        with pytest.raises(AuthenticationError, match="it has expired"):
            await client.get("orders/1")
        # A watch ends before it shows the next change.
        await alice.set("orders/1", b"secret")
        with pytest.raises(Unauthenticated):
            async with asyncio.timeout(30):
                await anext(events)


async def _use(orders: prism.Client) -> None:
    """Read again and again, which keeps the stream of operations open."""
    async with asyncio.timeout(30):
        while True:
            await orders.get("orders/1")
            await asyncio.sleep(0.1)


async def test_replaced_keys_are_the_only_ones(
    serve: Serve, issuer: Issuer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve_with_file(serve, issuer, tmp_path)
    async with prism.connect(server.address, token=issuer.token(), retry=False) as orders:
        await orders.set("orders/1", b"v")
        (tmp_path / "keys.json").write_text('{"keys": []}')
        await server.reload()
        assert "keys.json: no public key for RS256" in caplog.text
        await orders.set("orders/1", b"v")
        issuer.rotate("2")
        (tmp_path / "keys.json").write_text(issuer.key_set)
        await server.reload()
        with pytest.raises(Unauthenticated, match="a key that the server does not know"):
            await orders.get("orders/1")
    await set_with(server, issuer.token())


@on_h2corn
async def test_a_token_is_the_password_of_redis_clients(
    serve: Serve, issuer: Issuer, tmp_path: Path
) -> None:
    server = await serve_with_file(serve, issuer, tmp_path, resp_port=0)
    host, _, port = server.redis_address.rpartition(":")

    async def ping(password: str, **options: Any) -> object:
        retry = Retry(NoBackoff(), 0)
        async with Redis(
            host=host, port=int(port), password=password, retry=retry, **options
        ) as client:
            await client.set("orders/1", b"v")
            return await client.get("orders/1")

    assert await ping(issuer.token()) == b"v"
    assert await ping(issuer.token(), username="orders") == b"v"
    for token in (
        issuer.token(lasts_s=-60),
        issuer.token(aud="other"),
        issuer.unsigned(),
        issuer.signed_with_public_key(),
    ):
        with pytest.raises(AuthenticationError, match="the token is not valid"):
            await ping(token)
    with pytest.raises(AuthenticationError, match="or not of this user"):
        await ping(issuer.token(), username="stock")


@asynccontextmanager
async def keys_fetched(server: Guarded, **intervals: float) -> AsyncIterator[IssuerKeys]:
    """Let the server ask the issuer for its keys, as its application does."""
    keys = server.container.common.access().issuer_keys
    for name, seconds in intervals.items():
        setattr(keys, f"_{name}", seconds)
    asking = asyncio.create_task(keys.run())
    try:
        yield keys
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


@on_h2corn
async def test_the_keys_of_an_issuer_are_found_and_kept_while_it_is_down(
    serve: Serve, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prism")
    name = await issuer.start()
    issuer.is_down = True
    try:
        server = await serve(POLICY, jwt_issuer=name, jwt_audience="prism", resp_port=0)
        async with keys_fetched(server, least_s=0.0) as keys:
            with pytest.raises(NotServing, match=f"no key of the issuer {name} is known yet"):
                await set_with(server, issuer.token())
            status, body, _ = await asyncio.to_thread(
                ask, server.http_address, "/metrics", issuer.token()
            )
            assert (status, b"no key of the issuer" in body) == (503, True)
            host, _, port = server.redis_address.rpartition(":")
            with pytest.raises(BusyLoadingError, match="no key of the issuer"):
                async with Redis(
                    host=host, port=int(port), password=issuer.token(), retry=Retry(NoBackoff(), 0)
                ) as client:
                    await client.get("orders/1")
            issuer.is_down = False
            # Who comes while no key is known waits for the answer of the issuer.
            await set_with(server, issuer.token())
            assert f"the keys of {name} are known" in caplog.text
            asked = issuer.asked
            for _ in range(3):
                await set_with(server, issuer.token())
            assert issuer.asked == asked

            issuer.is_down = True
            await keys.refresh()
            assert "answers 503; those known before stay in use" in caplog.text
            await set_with(server, issuer.token())

            # A new key is asked for when a token names it.
            issuer.is_down = False
            before = issuer.token()
            issuer.rotate("2")
            await set_with(server, issuer.token())
            with pytest.raises(Unauthenticated, match="a key that the server does not know"):
                await set_with(server, before)
            keys._least_s = 60.0
            asked = issuer.asked
            for _ in range(3):
                with pytest.raises(Unauthenticated):
                    await set_with(server, before)
            assert issuer.asked == asked
    finally:
        await issuer.stop()


@on_h2corn
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/elsewhere", "/elsewhere answers 302"),
        ("/.well-known/openid-configuration", "not a JSON Web Key Set"),
    ],
)
async def test_an_address_without_keys_is_named_in_the_log(
    serve: Serve, issuer: Issuer, caplog: pytest.LogCaptureFixture, path: str, problem: str
) -> None:
    url = await issuer.start() + path
    try:
        server = await serve(
            POLICY, jwt_issuer="https://id", jwt_audience="prism", jwt_keys_url=url
        )
        keys = server.container.common.access().issuer_keys
        assert not await keys.refresh()
        assert problem in caplog.text
        assert "no JWT can be checked until they are" in caplog.text
    finally:
        await issuer.stop()
