"""The policy of a proxy: callers reach the patterns and keys that it allows, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

import prism
from prism.domain.access.tokens import new_token
from prism.ports import AccessDenied, PreconditionFailed
from tests.integration.access.test_http import ask
from tests.integration.conftest import ProxyServer, Server

POLICY = """
[[rules]]
who = "token:alice"
role = "administrator"

[[rules]]
who = ["token:orders", "token:stock"]
role = "own prefix"
patterns = "cache"

[[rules]]
who = "token:orders"
may = ["read", "write"]
prefixes = "short/"
default_ttl = "5m"
"""


Proxied = tuple[str, dict[str, str]]


@pytest.fixture
def proxy(start_server: Callable[..., Server], tmp_path: Path) -> Proxied:
    """Address of a proxy with the patterns `cache` and `sessions`, and tokens by name."""
    made = {name: new_token(name) for name in ("alice", "orders", "stock")}
    (tmp_path / "policy.toml").write_text(POLICY)
    (tmp_path / "tokens").write_text("\n".join(line for _, line in made.values()))
    server = start_server(
        *("--policy", "policy.toml", "--tokens", "tokens"),
        *("--pattern", "cache=memstore", "--pattern", "sessions=memstore"),
        kind=ProxyServer,
    ).serving()
    return server.address, {name: token for name, (token, _) in made.items()}


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


async def get_from(address: str, token: str, pattern: str) -> None:
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
