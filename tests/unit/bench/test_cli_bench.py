"""`prism bench`: the closed loop of callers, the histogram, and the mix of operations."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from itertools import islice

import pytest

from prism.cli.bench.closed_loop import ClosedLoop, Histogram
from prism.cli.bench.workload import parse_mix
from prism.ports import InvalidArgument, NotServing

LONG_SECONDS = 3600.0


class CountingTarget:
    """Target of calls that ends the run after a number of them; every other call fails."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.in_flight = self.max_in_flight = 0
        self.enough = asyncio.Event()

    def draw(self) -> tuple[str, Awaitable[None]]:
        return ("odd" if self.left % 2 else "even"), self._call(self.left)

    async def _call(self, number: int) -> None:
        self.left -= 1
        if self.left <= 0:
            self.enough.set()
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        if number % 2:
            raise InvalidArgument("odd")


async def run_until_enough(loop: ClosedLoop, target: CountingTarget) -> None:
    running = asyncio.create_task(loop.run(target.draw, LONG_SECONDS))
    await target.enough.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_given_number_of_callers_is_in_flight() -> None:
    target = CountingTarget(1000)
    await run_until_enough(ClosedLoop(callers=7), target)
    assert target.max_in_flight == 7


async def test_successes_and_failures_are_counted_by_operation() -> None:
    target, loop = CountingTarget(1000), ClosedLoop(callers=7)
    await run_until_enough(loop, target)
    assert not loop.tallies["odd"].succeeded.count
    assert not loop.tallies["even"].failed
    calls = 1000 - target.left
    total = loop.total
    assert total.succeeded.count + total.failed.total() == calls
    assert set(total.failed) == {(InvalidArgument, "INVALID_ARGUMENT")}
    assert loop.seconds > 0


async def test_a_cancelled_run_waits_for_its_calls() -> None:
    target = CountingTarget(10)
    await run_until_enough(ClosedLoop(callers=7), target)
    assert target.in_flight == 0


async def test_an_unexpected_error_ends_the_run() -> None:
    async def broken() -> None:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await ClosedLoop(callers=3).run(lambda: ("get", broken()), LONG_SECONDS)


async def test_callers_pause_while_the_server_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep
    enough = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        enough.set()
        await sleep(0)

    async def refuse() -> None:
        raise NotServing("draining")

    monkeypatch.setattr(asyncio, "sleep", pause)
    loop = ClosedLoop(callers=1)
    running = asyncio.create_task(loop.run(lambda: ("get", refuse()), LONG_SECONDS))
    await enough.wait()
    running.cancel()
    await asyncio.wait([running])
    assert len(pauses) == loop.total.failed[NotServing, "NOT_SERVING"]


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_an_empty_histogram_has_zeros() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.max, histogram.percentile(99)) == (0, 0, 0)


def test_small_numbers_are_exact() -> None:
    histogram = recorded(list(range(1, 101)))
    assert [histogram.percentile(p) for p in (0, 1, 50, 90, 99, 99.9, 100)] == [
        *(1, 1, 50, 90, 99, 100, 100)
    ]


@pytest.mark.parametrize("percent", [10, 50, 90, 99, 99.9, 100])
def test_a_percentile_is_at_most_a_sixty_fourth_too_large(percent: float) -> None:
    source = random.Random(1)
    values = sorted(int(source.lognormvariate(13, 3)) for _ in range(5000))
    exact = values[max(0, -int(-len(values) * percent // 100) - 1)]
    found = recorded(values).percentile(percent)
    assert exact <= found <= exact * (1 + 1 / 64)


def test_the_largest_is_exact_however_large() -> None:
    histogram = recorded([10**6, 10**15])
    assert histogram.max == 10**15
    assert histogram.percentile(100) <= 10**15


def test_a_negative_duration_counts_as_zero() -> None:
    assert recorded([-5]).percentile(100) == 0


def test_a_merged_histogram_equals_one_of_all_values() -> None:
    low, high = list(range(1000)), list(range(1000, 90_000, 7))
    together, both = recorded(low), recorded(low + high)
    together.add(recorded(high))
    for percent in (1, 50, 99, 100):
        assert together.percentile(percent) == both.percentile(percent)
    assert (together.count, together.max) == (both.count, both.max)


def test_a_mix_has_the_text_it_was_parsed_from() -> None:
    assert str(parse_mix(" get=80, set = 20 ")) == "get=80,set=20"


def test_an_operation_of_weight_zero_is_left_out() -> None:
    assert parse_mix("get=1,set=0").weights == {"get": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not an operation; the valid ones are: get, set, delete, incr"),
        ("scan=1", "'scan' is not an operation"),
        ("get", "'get' is not OPERATION=WEIGHT"),
        ("get=x", "'get=x' is not OPERATION=WEIGHT"),
        ("get=-1", "'get=-1' is not OPERATION=WEIGHT"),
        ("get=1,get=2", "get is given twice"),
        ("get=0", "no operation has a weight above 0"),
    ],
)
def test_an_invalid_mix_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        parse_mix(text)


def test_operations_are_drawn_by_weight() -> None:
    drawn = Counter(islice(parse_mix("get=8,set=2").draw(random.Random(1)), 10_000))
    assert drawn["get"] + drawn["set"] == 10_000
    assert 7_800 < drawn["get"] < 8_200
