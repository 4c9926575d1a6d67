from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from benchmarks import keys, latency, rounds
from benchmarks.keys import CostAgainstKeys
from benchmarks.latency import LatencyAgainstLoad, percentile
from benchmarks.processes import Cores, Variant
from benchmarks.rows import MANY, ROWS
from benchmarks.series import SERIES
from benchmarks.sides import Measure
from benchmarks.wire import GET, Load, logged

CORES = Cores(0, 1)
FAST, SLOW = (Variant(name, (), f"{name}, as it comes") for name in ("fast", "slow"))


class Untouched:
    """In the place of `Place`: nothing is started."""

    pids: tuple[int, ...] = ()

    def __init__(self, stack: ExitStack, cores: Cores) -> None:
        self.cores = cores

    def server(self, variant: Variant, keys: int = 0) -> str:
        return variant.name


class Quiet:
    """In the place of `Others`."""

    def __init__(self, cores: Cores, pids: object) -> None:
        pass

    def share(self) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "Others", Quiet)
    for module in (latency, keys):
        monkeypatch.setattr(module, "Place", Untouched)


def untold(doing: str) -> None:
    pass


def test_a_log_of_h2load_gives_what_each_answered_call_took_the_shortest_first() -> None:
    log = "1700000000000000\t200\t900\n1700000000000010\t200\t80\n1700000000000020\t-1\t7\n"
    assert logged(log) == [80, 900]
    assert logged("") == []


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)]
)
def test_a_percentile_is_one_of_the_figures(percent: float, expected: int) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_the_percentile_of_one_figure_is_that() -> None:
    assert percentile([7], 99) == 7


@dataclass
class Loaded:
    """In the place of h2load: 100 calls, each as long as the server takes for what is in flight."""

    address: str
    load: Load
    reply_bytes: int
    core: int

    def rate(self, seconds: float) -> float:
        journal.append((self.address, self.load.in_flight))
        return 1.0

    def latencies(self, seconds: float) -> list[int]:
        journal.append((self.address, self.load.in_flight))
        own_us = {"fast": 10, "slow": 1000}[self.address]
        return [own_us * self.load.in_flight] * 98 + [own_us * self.load.in_flight * 3] * 2


journal: list[tuple[str, int]] = []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(latency, "H2load", Loaded)
    monkeypatch.setattr(latency, "verify", lambda address, load: 5)
    journal.clear()
    yield
    journal.clear()


@pytest.mark.usefixtures("served")
def test_latency_is_told_by_server_and_number_in_flight() -> None:
    curve = LatencyAgainstLoad((FAST, SLOW), Load("Get", GET, 1), in_flight=(1, 4))
    told = curve.measure(CORES, rounds=3, seconds=2, tell=untold)
    fast, slow = told["servers"]
    assert (fast["name"], slow["name"]) == ("fast", "slow")
    assert [
        (point["in_flight"], point["calls_s"], point["p50_us"], point["p99_us"])
        for point in slow["points"]
    ] == [(1, 100, 1000, 3000), (4, 100, 4000, 12000)]
    assert fast["points"][1]["rounds"]["p50_us"] == [40, 40, 40]


@pytest.mark.usefixtures("served")
def test_servers_take_turns_at_each_load_after_a_warm_up() -> None:
    curve = LatencyAgainstLoad((FAST, SLOW), MANY, in_flight=(1, 4))
    curve.measure(CORES, rounds=2, seconds=2, tell=untold)
    a_round = [("fast", 1), ("slow", 1), ("fast", 4), ("slow", 4)]
    assert journal == [("fast", 4), ("slow", 4), *a_round, *a_round]


def test_cost_against_keys_is_the_median_of_the_ratios_within_each_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = {10: iter([1.0, 100, 200, 400]), 1000: iter([1.0, 90, 100, 360])}

    @dataclass
    class Counted:
        server: Variant
        keys: int
        settings: str = "by the test"

        def open(self, place: object) -> Measure:
            return lambda seconds: next(figures[self.keys])

    monkeypatch.setattr(keys, "RandomGets", Counted)
    told = CostAgainstKeys(FAST, keys=(10, 1000)).measure(CORES, rounds=3, seconds=2, tell=untold)
    few, many = told["points"]
    assert (few["keys"], few["ratio"], few["gets_s"]) == (10, 1, 200)
    assert (many["keys"], many["ratio"], many["min"], many["max"]) == (1000, 0.9, 0.5, 0.9)
    assert many["rounds"] == [90, 100, 360]


def test_every_curve_can_be_told_from_the_others_and_from_the_rows() -> None:
    assert len({curve.key for curve in SERIES}) == len(SERIES)
    assert not {curve.name for curve in SERIES} & {row.name for row in ROWS}
