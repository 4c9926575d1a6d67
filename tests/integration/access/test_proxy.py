"""The policy of a proxy: callers reach the patterns and keys that it allows, and no others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis.asyncio

import prism
from prism.ports import AccessDenied, PreconditionFailed
from tests.integration.access.test_http import ask
from tests.integration.conftest import ProxyServer, Server
from tests.integration.resp.conftest import port_of

Proxied = tuple[str, dict[str, str]]


async def test_callers_share_a_proxy(proxy: Proxied) -> None:
    address, tokens = proxy
    limit = timedelta(seconds=30)

    async with (
        prism.connect(address, token=tokens["orders"], timeout=limit) as orders,
        prism.connect(address, token=tokens["stock"], timeout=limit) as stock,
        prism.connect(address, token=tokens["alice"], timeout=limit) as alice,
    ):
        # Many at once over one stream to the pattern, of callers who may do different things.
        async def work(kv: prism.Client, own: str, other: str) -> None:
            for number in range(20):
                outcomes = await asyncio.gather(
                    *(kv.set(f"{own}/{each}", b"%d" % number) for each in range(8)),
                    *(kv.set(f"{other}/{each}", b"wrong") for each in range(8)),
                    return_exceptions=True,
                )
                refused = [isinstance(each, AccessDenied) for each in outcomes]
                assert refused == [False] * 8 + [True] * 8

        await asyncio.gather(work(orders, "orders", "stock"), work(stock, "stock", "orders"))
        for own in ("orders", "stock"):
            for each in range(8):
                entry = await alice.get(f"{own}/{each}")
                assert entry is not None
                assert entry.value == b"19"

        # A ttl that a rule gives reaches the pattern too.
        await orders.set("short/1", b"")
        lifetime = await orders.ttl("short/1")
        assert lifetime is not None
        assert lifetime.remaining is not None

        with pytest.raises(AccessDenied, match="let token:stock administer this server"):
            await stock.patterns.all()
        assert {each.status.name for each in await alice.patterns.all()} == {"cache", "sessions"}

    # Nothing tells which patterns there are.
    for name in ("sessions", "nonsense"):
        with pytest.raises(AccessDenied, match=f"let token:stock use the pattern '{name}'"):
            await get_from(address, tokens["stock"], name)
    with pytest.raises(PreconditionFailed, match="there is no pattern"):
        await get_from(address, tokens["alice"], "nonsense")


async def get_from(address: str, token: str | None, pattern: str) -> None:
    async with prism.connect(address, token=token, pattern=pattern) as kv:
        await kv.get("stock/1")


async def test_the_http_ports_of_patterns_ask_the_policy(proxy: Proxied) -> None:
    address, tokens = proxy
    async with prism.connect(address, token=tokens["alice"]) as alice:
        found = [each.status.registration for each in await alice.patterns.all()]
    ports = [registration.metrics_address for registration in found if registration is not None]
    assert len(ports) == 2
    for port in ports:
        for path, name, expected in (
            ("/health", None, 200),
            ("/ready", None, 200),
            ("/metrics", None, 401),
            ("/", None, 401),
            ("/metrics", "orders", 403),
            ("/metrics", "alice", 200),
        ):
            token = None if name is None else tokens[name]
            status, _, _ = await asyncio.to_thread(ask, port, path, token)
            assert (path, name, status) == (path, name, expected)


async def test_operations_are_recorded_with_their_pattern(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(
        *("--pattern", "cache=memstore", "--resp-port", "0"),
        *("--audit-log", "audit", "--audit-keys", "--audit-operations"),
        kind=ProxyServer,
    ).serving()
    async with prism.connect(server.address, timeout=timedelta(seconds=30)) as kv:
        # By a stream and by a call.
        await kv.set("a", b"1")
        await get_from(server.address, None, "cache")
    client = redis.asyncio.Redis(port=port_of(server))
    await client.set("b", b"1")
    await client.aclose()
    lines = map(json.loads, (tmp_path / "audit").read_text().splitlines())
    assert [(line["what"], line["outcome"], line["pattern"], line["key"]) for line in lines] == [
        ("set", "ok", "cache", "a"),
        ("get", "ok", "cache", "stock/1"),
        ("set", "ok", "cache", "b"),
    ]
