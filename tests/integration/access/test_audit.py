"""The audit log of a server: who was refused what, and who gave which command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis.asyncio
import redis.exceptions

import prism
from prism.ports import Delete, PrismError, Put
from prism.v1 import keyvalue_pb2
from tests.integration.access.conftest import Guarded, Serve


def events(server: Guarded) -> list[tuple[Any, ...]]:
    lines = map(json.loads, (server.folder / "audit").read_text().splitlines())
    return [
        (line["event"], line["what"], line["outcome"], line["identity"], line.get("key"))
        for line in lines
        if line["peer"] is not None
    ]


async def test_refusals_and_commands_are_recorded(serve: Serve, tmp_path: Path) -> None:
    server = await serve(audit_log=str(tmp_path / "audit"), audit_keys=True)
    async with server.connect("orders") as orders:
        await orders.set("orders/1", b"")
        for attempt in (
            orders.get("stock/1"),
            orders.scan("stock/"),
            orders.lifecycle.drain(),
        ):
            with pytest.raises(PrismError):
                await attempt
    with pytest.raises(PrismError):
        async with prism.connect(server.address, token="prism_wrong"):
            pass
    with pytest.raises(PrismError):
        async with prism.connect(server.address):
            pass
    async with server.connect("alice") as alice:
        await alice.lifecycle.health()
        await alice.lifecycle.drain()
    assert events(server) == [
        ("refused", "read", "NOT_ALLOWED", ["token:orders"], "stock/1"),
        ("refused", "scan", "NOT_ALLOWED", ["token:orders"], "stock/"),
        ("refused", "admin", "NOT_ALLOWED", ["token:orders"], None),
        ("command", "Drain", "NOT_ALLOWED", ["token:orders"], None),
        ("wrong token", "connect", "UNAUTHENTICATED", [], None),
        ("refused", "connect", "UNAUTHENTICATED", ["anonymous"], None),
        ("command", "Drain", "ok", ["token:alice"], None),
    ]


def operations(server: Guarded) -> list[tuple[Any, ...]]:
    """Return the recorded operations, each without the time and the peer, which is checked."""
    lines = map(json.loads, (server.folder / "audit").read_text().splitlines())
    found = []
    for line in lines:
        if line["event"] == "operation":
            assert "127.0.0.1:" in line["peer"]
            more = {name: line[name] for name in ("key", "keys", "items", "failed") if name in line}
            found.append((line["identity"][0], line["what"], line["outcome"], more))
    return found


@pytest.mark.parametrize("by_stream", [True, False])
async def test_operations_are_recorded_if_the_options_say_so(
    serve: Serve, tmp_path: Path, by_stream: bool
) -> None:
    path = str(tmp_path / "audit")
    server = await serve(audit_log=path, audit_keys=True, audit_operations=True)
    async with server.connect("orders") as orders:
        if by_stream:
            await orders.set("orders/1", b"1")
        else:
            await call_set(server, "orders/1")
        with pytest.raises(PrismError):
            await orders.get("stock/1")
        await orders.get_many(["orders/1", "stock/1"])
        await orders.apply([], [Put("orders/1", b""), Delete("orders/2")])
        await orders.scan("orders/")
        async with orders.watch("orders/"):
            pass
        with pytest.raises(PrismError):
            async with orders.watch("stock/"):
                pass
    who = "token:orders"
    assert operations(server) == [
        (who, "set", "ok", {"key": "orders/1"}),
        (who, "get", "NOT_ALLOWED", {"key": "stock/1"}),
        (who, "get_many", "ok", {"keys": ["orders/1", "stock/1"], "items": 2, "failed": 1}),
        (who, "apply", "ok", {"keys": ["orders/1", "orders/2"], "items": 2}),
        (who, "scan", "ok", {"key": "orders/"}),
        (who, "watch", "ok", {"key": "orders/"}),
        (who, "watch", "NOT_ALLOWED", {"key": "stock/"}),
    ]


async def call_set(server: Guarded, key: str) -> None:
    """Set a key by a unary call."""
    request = keyvalue_pb2.SetRequest(key=key, value=b"1").SerializeToString()
    metadata = (("authorization", f"Bearer {server.tokens['orders']}"),)
    channel: Any
    async with grpc.aio.insecure_channel(server.address) as channel:
        await channel.unary_unary("/prism.v1.KeyValueService/Set")(request, metadata=metadata)


@pytest.mark.parametrize("transport", ["h2corn"], indirect=True)
async def test_commands_of_redis_clients_are_recorded_without_keys(
    serve: Serve, tmp_path: Path
) -> None:
    server = await serve(audit_log=str(tmp_path / "audit"), audit_operations=True, resp_port=0)
    client = redis.asyncio.Redis.from_url(
        f"redis://orders:{server.tokens['orders']}@{server.redis_address}"
    )
    await client.set("orders/1", b"1")
    await client.mget("orders/1", "orders/2")
    with pytest.raises(redis.exceptions.ResponseError, match="policy"):
        await client.get("stock/1")
    await client.aclose()
    who = "token:orders"
    assert operations(server) == [
        (who, "set", "ok", {}),
        (who, "get_many", "ok", {"items": 2}),
        (who, "get", "NOT_ALLOWED", {}),
    ]
    assert "orders/1" not in (tmp_path / "audit").read_text()


async def test_operations_are_not_recorded_by_default(serve: Serve, tmp_path: Path) -> None:
    server = await serve(audit_log=str(tmp_path / "audit"))
    async with server.connect("orders") as orders:
        await orders.set("orders/1", b"1")
    assert operations(server) == []
