"""The curves: latency against load, cost against the number of keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from benchmarks import rounds, series
from benchmarks.h2load import GET, Load, logged_durations
from benchmarks.processes import Cores, ServerCommand, StartedServer
from benchmarks.rows import MANY_GETS, ROWS
from benchmarks.series import SERIES, CostAgainstKeys, LatencyAgainstLoad, percentile
from benchmarks.sides import Measure

CORES = Cores(0, 1)
FAST, SLOW = (ServerCommand(name, (), f"{name}, by default") for name in ("fast", "slow"))


class FakeContext:
    """MeasurementContext that starts no servers."""

    pids: tuple[int, ...] = ()

    def __init__(self, stack: ExitStack, cores: Cores) -> None:
        self.cores = cores

    def server(self, command: ServerCommand, keys: int = 0) -> StartedServer:
        return StartedServer(pid=0, address=command.name, redis_port=0, seconds=0)


class NoForeignLoad:
    """Foreign load of a quiet machine."""

    def __init__(self, cores: Cores, pids: object) -> None:
        pass

    def share(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ForeignLoad", NoForeignLoad)
    monkeypatch.setattr(series, "MeasurementContext", FakeContext)


def ignore(step: str) -> None:
    pass


def test_durations_are_read_from_a_log_of_h2load_in_order() -> None:
    log = "1700000000000000\t200\t900\n1700000000000010\t200\t80\n1700000000000020\t-1\t7\n"
    assert logged_durations(log) == [80, 900]
    assert logged_durations("") == []


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)]
)
def test_a_percentile_is_one_of_the_figures(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_the_percentile_of_one_figure_is_that_figure() -> None:
    assert percentile([7], 99) == 7


@dataclass
class FakeH2load:
    """100 calls, whose durations depend on the server and the calls in flight."""

    address: str
    load: Load
    reply_bytes: int
    core: int

    def rate(self, seconds: float) -> float:
        journal.append((self.address, self.load.in_flight))
        return 1.0

    def latencies(self, seconds: float) -> list[int]:
        journal.append((self.address, self.load.in_flight))
        call_us = {"fast": 10, "slow": 1000}[self.address]
        return [call_us * self.load.in_flight] * 98 + [call_us * self.load.in_flight * 3] * 2


journal: list[tuple[str, int]] = []


@pytest.fixture
def fake_load(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(series, "H2load", FakeH2load)
    monkeypatch.setattr(series, "verify", lambda address, load: 5)
    journal.clear()
    yield
    journal.clear()


@pytest.mark.usefixtures("fake_load")
def test_latency_is_measured_by_server_and_calls_in_flight() -> None:
    curve = LatencyAgainstLoad((FAST, SLOW), Load("Get", GET, 1), in_flight=(1, 4))
    measured = curve.measure(CORES, rounds=3, seconds=2, progress=ignore)
    fast, slow = measured["servers"]
    assert (fast["name"], slow["name"]) == ("fast", "slow")
    assert [
        (point["in_flight"], point["calls_s"], point["p50_us"], point["p99_us"])
        for point in slow["points"]
    ] == [(1, 100, 1000, 3000), (4, 100, 4000, 12000)]
    assert fast["points"][1]["rounds"]["p50_us"] == [40, 40, 40]


@pytest.mark.usefixtures("fake_load")
def test_servers_alternate_at_each_load_after_a_warm_up() -> None:
    curve = LatencyAgainstLoad((FAST, SLOW), MANY_GETS, in_flight=(1, 4))
    curve.measure(CORES, rounds=2, seconds=2, progress=ignore)
    a_round = [("fast", 1), ("slow", 1), ("fast", 4), ("slow", 4)]
    assert journal == [("fast", 4), ("slow", 4), *a_round, *a_round]


def test_cost_against_keys_is_the_median_of_the_ratios_within_each_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {10: iter([1.0, 100, 200, 400]), 1000: iter([1.0, 90, 100, 360])}

    @dataclass
    class FakeRandomGets:
        server: ServerCommand
        keys: int
        settings: str = "by the test"

        def open(self, context: object) -> Measure:
            return lambda seconds: next(figures[self.keys])

    monkeypatch.setattr(series, "RandomGets", FakeRandomGets)
    measured = CostAgainstKeys(FAST, keys=(10, 1000)).measure(
        CORES, rounds=3, seconds=2, progress=ignore
    )
    few, many = measured["points"]
    assert (few["keys"], few["ratio"], few["gets_s"]) == (10, 1, 200)
    assert (many["keys"], many["ratio"], many["min"], many["max"]) == (1000, 0.9, 0.5, 0.9)
    assert many["rounds"] == [90, 100, 360]


def test_curves_and_rows_have_unique_names() -> None:
    assert len({curve.key for curve in SERIES}) == len(SERIES)
    assert not {curve.name for curve in SERIES} & {row.name for row in ROWS}
