"""Limits on what callers leave unfinished, or send all at once."""

from __future__ import annotations

import asyncio

from prism.adapters.grpc.transports.peer_limits import Turns


async def test_small_work_is_done_between_large_messages() -> None:
    turns = Turns()
    done: list[str] = []

    async def decode(name: str) -> None:
        await turns.take()
        done.append(name)

    async def serve_small_calls() -> None:
        for _ in range(6):
            await asyncio.sleep(0)
            done.append("small")

    await asyncio.gather(*(decode("large") for _ in range(3)), serve_small_calls())
    assert "large large" not in " ".join(done)
