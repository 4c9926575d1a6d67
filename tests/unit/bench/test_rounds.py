"""Rounds of measurements, the verdict on a row, and the output of h2load."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import pytest

from benchmarks import rounds
from benchmarks.h2load import successful_calls
from benchmarks.processes import CannotRun, Cores
from benchmarks.report import as_json, result_lines
from benchmarks.rounds import Result, Spread
from benchmarks.rows import ROWS, Row
from benchmarks.sides import Measure, MeasurementContext


@dataclass(frozen=True)
class ScriptedSide:
    """Side with given figures that records each measurement."""

    name: str
    figures: list[float]
    journal: list[str] = field(default_factory=list)
    settings: str = "by the test"

    def open(self, context: MeasurementContext) -> Measure:
        figures = iter([0.0, *self.figures])  # The first is the warm-up.

        def measure(seconds: float) -> float:
            self.journal.append(self.name)
            return next(figures)

        return measure


RATIO = Row("a", ScriptedSide("a", []), 2, 4, ScriptedSide("b", []), "b")
TIME = Row("seconds", ScriptedSide("a", []), floor=0.8, aim=0.4)


def ignore(step: str) -> None:
    pass


class ScriptedForeignLoad:
    """Foreign load with a given share in each round."""

    def __init__(self, *shares: float) -> None:
        self._shares = list(shares)

    def __call__(self, cores: Cores, pids: object) -> ScriptedForeignLoad:
        return self

    def share(self) -> float:
        return self._shares.pop(0)


class MeetingSide:
    """Side whose measurement ends only while the other side is measured too."""

    def __init__(self, barrier: threading.Barrier, figure: float) -> None:
        self.name = self.settings = "by the test"
        self._barrier = barrier
        self._figure = figure

    def open(self, context: MeasurementContext) -> Measure:
        def measure(seconds: float) -> float:
            if seconds != rounds.WARM_UP_S:
                self._barrier.wait(10)
            return self._figure

        return measure


def test_the_sides_of_an_at_once_row_are_measured_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "ForeignLoad", ScriptedForeignLoad(0, 0))
    both = threading.Barrier(2)
    row = replace(RATIO, side=MeetingSide(both, 6), peer=MeetingSide(both, 2), at_once=True)
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, progress=ignore)
    assert (result.side, result.peer) == ((6, 6), (2, 2))


def test_rounds_are_interleaved_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ForeignLoad", ScriptedForeignLoad(0, 0))
    journal: list[str] = []
    row = replace(
        RATIO, side=ScriptedSide("a", [6, 4], journal), peer=ScriptedSide("b", [2, 2], journal)
    )
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, progress=ignore)
    assert journal == ["a", "b"] * 3
    assert (result.side, result.peer) == ((6, 4), (2, 2))


def test_a_disturbed_round_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ForeignLoad", ScriptedForeignLoad(0.0, 0.5, 0.02))
    row = replace(TIME, side=ScriptedSide("a", [1, 2, 3]))
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, progress=ignore)
    assert (result.side, result.peer, result.foreign_load) == ((1, 3), (), 0.01)


def test_on_a_busy_machine_the_least_disturbed_rounds_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "ForeignLoad", ScriptedForeignLoad(0.9, 0.3, 0.8, 0.5))
    row = replace(TIME, side=ScriptedSide("a", [1, 2, 3, 4]))
    result = rounds.measure(row, Cores(0, 1), rounds=2, seconds=0, progress=ignore)
    assert (result.side, result.foreign_load) == ((2, 4), 0.4)


def test_the_figure_is_the_median_of_the_ratios_not_the_ratio_of_medians() -> None:
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
def test_a_row_is_judged_by_floor_and_aim(
    row: Row, figure: float, passed: bool, verdict: str
) -> None:
    result = Result(row, [figure], [1.0] if row.peer else [])
    assert (result.passed, result.verdict) == (passed, verdict)


def test_the_report_has_ratio_spread_bounds_and_settings() -> None:
    results = [Result(RATIO, [1, 2, 3], [1, 1, 1], foreign_load=0.25), Result(TIME, [0.5], [])]
    text = "\n".join(result_lines(results))
    for part in ("2.00", "1.00-3.00", "25%", "<=0.8", "ok", "  a: by the test"):
        assert part in text


def test_the_json_has_every_round() -> None:
    (row,) = as_json([Result(RATIO, [1, 2, 3], [1, 1, 1])], machine={})["rows"]
    assert (row["median"], row["floor"], row["passed"]) == (2, 2, True)
    assert row["sides"][0] == {"name": "a", "settings": "by the test", "rounds": [1, 2, 3]}


def test_every_row_has_a_unique_name_and_an_aim_beyond_its_floor() -> None:
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


def test_calls_are_counted_when_every_reply_has_the_right_size() -> None:
    assert successful_calls(printed(), reply_bytes=10, in_flight=2) == 100
    assert successful_calls(printed(data=1530), reply_bytes=10, in_flight=2) == 100


@pytest.mark.parametrize(
    "wrong",
    [
        printed(done=0, data=0),
        printed(failed=1),
        printed(ok=99),
        printed(data=1485),  # An error has no data but status 200.
        printed(data=1531),
        "h2load: cannot connect",
    ],
)
def test_wrong_output_of_h2load_is_refused(wrong: str) -> None:
    with pytest.raises(CannotRun):
        successful_calls(wrong, reply_bytes=10, in_flight=2)
