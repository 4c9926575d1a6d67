"""The audit log of a server: who was refused what, and who gave which command."""

from __future__ import annotations

import json
from typing import Any

import pytest

import prism
from prism.ports import PrismError
from tests.integration.access.conftest import Guarded, Serve


def events(server: Guarded) -> list[tuple[Any, ...]]:
    lines = map(json.loads, (server.folder / "audit").read_text().splitlines())
    return [
        (line["event"], line["what"], line["outcome"], line["identity"], line.get("key"))
        for line in lines
        if line["peer"] is not None
    ]


async def test_refusals_and_commands_are_recorded(serve: Serve, tmp_path: Any) -> None:
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
