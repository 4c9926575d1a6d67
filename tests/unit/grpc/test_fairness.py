"""A burst of streams begins a few at a time, and other connections between them."""

from __future__ import annotations

import asyncio

from prism.adapters.grpc.transports.fairness import StreamTurns

_BURST = 1_000


async def _burst(turns: StreamTurns, begun: list[str]) -> list[asyncio.Task[None]]:
    async def begin(connection: str) -> None:
        await turns.take(connection)
        begun.append(connection)

    burst = [asyncio.create_task(begin("greedy")) for _ in range(_BURST)]
    await asyncio.sleep(0)
    burst.append(asyncio.create_task(begin("modest")))
    return burst


async def test_a_stream_of_another_connection_overtakes_a_burst() -> None:
    begun: list[str] = []
    await asyncio.gather(*await _burst(StreamTurns(), begun))
    assert begun.index("modest") < 30
    assert len(begun) == _BURST + 1


async def test_a_burst_is_spread_over_many_turns_of_the_loop() -> None:
    begun: list[str] = []
    burst = await _burst(StreamTurns(), begun)
    turns = 0
    while not all(task.done() for task in burst):
        await asyncio.sleep(0)
        turns += 1
    assert turns > _BURST / 10


async def test_streams_that_are_cancelled_while_they_wait_hold_up_nobody() -> None:
    begun: list[str] = []
    turns = StreamTurns()
    burst = await _burst(turns, begun)
    for task in burst:
        task.cancel()
    await asyncio.gather(*burst, return_exceptions=True)
    await asyncio.wait_for(turns.take("next"), 5)
    assert len(begun) < 30
