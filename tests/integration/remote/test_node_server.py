"""Our client and the stock server of Node, which share no implementation of HTTP/2."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import prism
from prism.ports import AccessDenied
from tests.integration.documentation.pages import ROOT
from tests.integration.grpc.test_stock_clients import MODULES

SCRIPT = Path(__file__).parents[1] / "grpc" / "node" / "server.js"


@pytest.fixture(params=["stream", "unary"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    node = shutil.which(
        "node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert node, "node is missing: run 'make setup'"
    assert MODULES.is_dir(), f"{MODULES} is missing: run 'make setup'"
    process = await asyncio.create_subprocess_exec(
        *(node, str(SCRIPT), str(ROOT / "proto"), str(ROOT / "build" / "googleapis")),
        *([] if request.param == "stream" else ["unary"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(MODULES)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = await asyncio.wait_for(process.stdout.readline(), 60)
        yield f"127.0.0.1:{int(port)}"
    finally:
        process.stdin.close()
        await process.wait()


async def test_client_of_a_server_in_another_language(address: str) -> None:
    async with prism.connect(address, timeout=timedelta(seconds=30)) as kv:
        assert kv.profile.driver == "node"
        large = os.urandom(6 << 20)
        await kv.set("large", large)
        entry = await kv.get("large")
        assert entry is not None
        assert entry.value == large
        await asyncio.gather(*(kv.set(f"k{n}", b"%d" % n) for n in range(300)))
        entries = await asyncio.gather(*(kv.get(f"k{n}") for n in range(300)))
        assert [entry and entry.value for entry in entries] == [b"%d" % n for n in range(300)]
        assert await kv.get("absent") is None
        with pytest.raises(AccessDenied, match="größer: nein"):
            await kv.delete("refused")
        async with kv.watch() as events:
            await kv.set("watched", b"v")
            event = await anext(events)
            assert (event.key, event.value) == ("watched", b"v")
        # Never answered, and given up.
        waiting = asyncio.create_task(kv.once.get("never"))
        assert await kv.exists("absent") is False
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await kv.exists("absent") is False
