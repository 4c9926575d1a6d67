from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from prism.cli.bench.closed_loop import ClosedLoop
from prism.ports import InvalidArgument, NotServing

A_LONG_TIME = 3600.0


class Target:
    """Answers, and ends the run once it was called so often."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.in_flight = self.most_in_flight = 0
        self.enough = asyncio.Event()

    def draw(self) -> tuple[str, Awaitable[None]]:
        return ("odd" if self.left % 2 else "even"), self._call(self.left)

    async def _call(self, number: int) -> None:
        self.left -= 1
        if self.left <= 0:
            self.enough.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if number % 2:
            raise InvalidArgument("odd")


async def run_until_enough(loop: ClosedLoop, target: Target) -> None:
    running = asyncio.create_task(loop.run(target.draw, A_LONG_TIME))
    await target.enough.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_so_many_callers_are_in_flight() -> None:
    target = Target(1000)
    await run_until_enough(ClosedLoop(callers=7), target)
    assert target.most_in_flight == 7


async def test_successes_and_failures_are_counted_by_operation() -> None:
    target, loop = Target(1000), ClosedLoop(callers=7)
    await run_until_enough(loop, target)
    assert not loop.tallies["odd"].succeeded.count
    assert not loop.tallies["even"].failed
    calls = 1000 - target.left
    total = loop.total
    assert total.succeeded.count + total.failed.total() == calls
    assert set(total.failed) == {(InvalidArgument, "INVALID_ARGUMENT")}
    assert loop.seconds > 0


async def test_a_cancelled_run_sees_its_calls_through() -> None:
    target = Target(10)
    await run_until_enough(ClosedLoop(callers=7), target)
    assert target.in_flight == 0


async def test_what_is_no_error_of_ours_ends_the_run() -> None:
    async def broken() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await ClosedLoop(callers=3).run(lambda: ("get", broken()), A_LONG_TIME)


async def test_a_server_that_is_gone_is_not_stormed(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep
    enough = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        enough.set()
        await sleep(0)

    async def gone() -> None:
        raise NotServing("draining")

    monkeypatch.setattr(asyncio, "sleep", pause)
    loop = ClosedLoop(callers=1)
    running = asyncio.create_task(loop.run(lambda: ("get", gone()), A_LONG_TIME))
    await enough.wait()
    running.cancel()
    await asyncio.wait([running])
    assert len(pauses) == loop.total.failed[NotServing, "NOT_SERVING"]
