"""A proxy in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Proxy:
    """A serving proxy.

    Attributes:
        address: address of its gRPC services.
    """

    process: asyncio.subprocess.Process
    address: str


@asynccontextmanager
async def running(arguments: Sequence[str]) -> AsyncIterator[Proxy]:
    """Run `prism proxy` on a free port; SIGTERM ends it when the context is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prism.cli", "proxy"),
        *("--grpc-port", "0", "--no-metrics", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    log = _lines_of(process)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            serving = await _serving(log)
        # Read on, or a full pipe would block the proxy.
        reading = asyncio.create_task(_read(log))
        yield Proxy(process, serving["grpc_address"])
        process.terminate()
        async with asyncio.timeout(_TIMEOUT_S):
            await asyncio.gather(process.wait(), reading)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _lines_of(process: asyncio.subprocess.Process) -> AsyncIterator[dict[str, Any]]:
    assert process.stderr is not None
    async for line in process.stderr:
        yield json.loads(line)


async def _serving(log: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    messages = []
    async for event in log:
        # Each pattern logs the same message, with its name.
        if event["message"] == "serving" and "pattern" not in event:
            return event
        messages.append(event["message"])
    raise RuntimeError("the proxy ended:\n" + "\n".join(messages))


async def _read(log: AsyncIterator[dict[str, Any]]) -> None:
    async for _ in log:
        pass
