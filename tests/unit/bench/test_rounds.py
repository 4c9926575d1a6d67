from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import pytest

from benchmarks import rounds
from benchmarks.processes import CannotRun, Cores
from benchmarks.report import fields_of, lines_of
from benchmarks.rounds import Result, Spread
from benchmarks.rows import ROWS, Row
from benchmarks.sides import Measure, Place
from benchmarks.wire import succeeded


@dataclass(frozen=True)
class Scripted:
    """A side that tells when it is measured, and answers as the test says."""

    name: str
    figures: list[float]
    journal: list[str] = field(default_factory=list)
    settings: str = "by the test"

    def open(self, place: Place) -> Measure:
        figures = iter([0.0, *self.figures])  # The first is for warming up.

        def measured(seconds: float) -> float:
            self.journal.append(self.name)
            return next(figures)

        return measured


RATIO = Row("a : b", Scripted("a", []), Scripted("b", []), floor=2, aim=4)
TIME = Row("seconds", Scripted("a", []), None, floor=0.8, aim=0.4)


def untold(doing: str) -> None:
    pass


class Watched:
    """In the place of `Others`: what they take in each round, as the test says."""

    def __init__(self, *shares: float) -> None:
        self._shares = list(shares)

    def __call__(self, cores: Cores, pids: object) -> Watched:
        return self

    def share(self) -> float:
        return self._shares.pop(0)


class Meeting:
    """A side that ends its measurement only while another one is measured too."""

    def __init__(self, others: threading.Barrier, figure: float) -> None:
        self.name = self.settings = "by the test"
        self._others = others
        self._figure = figure

    def open(self, place: Place) -> Measure:
        def measured(seconds: float) -> float:
            if seconds != rounds.WARM_UP_S:
                self._others.wait(10)
            return self._figure

        return measured


def test_sides_that_are_to_be_compared_at_once_are_measured_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "Others", Watched(0, 0))
    both = threading.Barrier(2)
    row = replace(RATIO, side=Meeting(both, 6), peer=Meeting(both, 2), at_once=True)
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, tell=untold)
    assert (result.side, result.peer) == ((6, 6), (2, 2))


def test_rounds_are_interleaved_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "Others", Watched(0, 0))
    journal: list[str] = []
    row = replace(RATIO, side=Scripted("a", [6, 4], journal), peer=Scripted("b", [2, 2], journal))
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, tell=untold)
    assert journal == ["a", "b"] * 3
    assert (result.side, result.peer) == ((6, 4), (2, 2))


def test_a_disturbed_round_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "Others", Watched(0.0, 0.5, 0.02))
    row = replace(TIME, side=Scripted("a", [1, 2, 3]))
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, tell=untold)
    assert (result.side, result.peer, result.others) == ((1, 3), (), 0.01)


def test_on_a_busy_machine_the_least_disturbed_rounds_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "Others", Watched(0.9, 0.3, 0.8, 0.5))
    row = replace(TIME, side=Scripted("a", [1, 2, 3, 4]))
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, tell=untold)
    assert (result.side, result.others) == ((2, 4), 0.4)


def test_the_figure_is_the_median_of_the_ratios_and_not_the_ratio_of_medians() -> None:
    result = Result(RATIO, [10, 100, 30], [10, 10, 2])
    assert result.figure == Spread(median=10, least=1, most=15)


@pytest.mark.parametrize(
    ("row", "figure", "passed", "verdict"),
    [
        (RATIO, 1.99, False, "BELOW FLOOR"),
        (RATIO, 2.0, True, "ok"),
        (RATIO, 4.0, True, "aim reached"),
        (TIME, 0.81, False, "BELOW FLOOR"),
        (TIME, 0.8, True, "ok"),
        (TIME, 0.4, True, "aim reached"),
    ],
)
def test_a_row_is_held_to_its_floor_and_its_aim(
    row: Row, figure: float, passed: bool, verdict: str
) -> None:
    result = Result(row, [figure], [1.0] if row.peer else [])
    assert (result.passed, result.verdict) == (passed, verdict)


def test_the_report_tells_ratio_spread_bounds_and_settings() -> None:
    results = [Result(RATIO, [1, 2, 3], [1, 1, 1], others=0.25), Result(TIME, [0.5], [])]
    told = "\n".join(lines_of(results))
    for part in ("2.00", "1.00-3.00", "25%", "<=0.8", "ok", "  a: by the test"):
        assert part in told


def test_the_json_has_every_round() -> None:
    (row,) = fields_of([Result(RATIO, [1, 2, 3], [1, 1, 1])], machine={})["rows"]
    assert (row["median"], row["floor"], row["passed"]) == (2, 2, True)
    assert row["sides"][0] == {"name": "a", "settings": "by the test", "rounds": [1, 2, 3]}


def test_every_row_has_an_aim_beyond_its_floor_and_a_name_of_its_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.aim < row.floor if row.less_is_better else row.aim > row.floor


PRINTED = """
finished in 1.50s, 17822.00 req/s, 644.08KB/s
requests: {done} total, 120 started, {done} done, {done} succeeded, {failed} failed, 0 errored
status codes: {ok} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 966.12KB (989308) total, 104.51KB (107022) headers (space savings 96%), 1KB ({data}) data
"""


def printed(done: int = 100, failed: int = 0, ok: int = 100, data: int = 1500) -> str:
    return PRINTED.format(done=done, failed=failed, ok=ok, data=data)


def test_h2load_is_believed_when_all_its_answers_are_of_the_right_size() -> None:
    assert succeeded(printed(), reply_bytes=10, in_flight=2) == 100
    assert succeeded(printed(data=1530), reply_bytes=10, in_flight=2) == 100


@pytest.mark.parametrize(
    "wrong",
    [
        printed(done=0, data=0),
        printed(failed=1),
        printed(ok=99),
        printed(data=1485),  # An error has no data, and status 200 all the same.
        printed(data=1531),
        "h2load: cannot connect",
    ],
)
def test_h2load_is_not_believed_otherwise(wrong: str) -> None:
    with pytest.raises(CannotRun):
        succeeded(wrong, reply_bytes=10, in_flight=2)
