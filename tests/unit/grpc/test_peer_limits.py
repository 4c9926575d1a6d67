"""Limits on what callers leave unfinished, or send all at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prism.adapters.grpc.transports.peer_limits import PeerLimits
from prism.domain.connection_budget import UnreadReplies


async def test_small_work_is_done_between_large_messages() -> None:
    limits = PeerLimits(UnreadReplies(), timedelta(seconds=1))
    done: list[str] = []

    async def decode(name: str) -> None:
        await limits.take_turn()
        done.append(name)

    async def serve_small_calls() -> None:
        for _ in range(6):
            await asyncio.sleep(0)
            done.append("small")

    await asyncio.gather(*(decode("large") for _ in range(3)), serve_small_calls())
    assert "large large" not in " ".join(done)
