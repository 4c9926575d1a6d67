from __future__ import annotations

import random

import pytest

from prism.cli.bench.histogram import Histogram


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_an_empty_histogram_has_zeros() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.max, histogram.percentile(99)) == (0, 0, 0)


def test_small_numbers_are_kept_exactly() -> None:
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


def test_a_clock_that_goes_back_counts_as_nothing() -> None:
    assert recorded([-5]).percentile(100) == 0


def test_two_together_are_what_one_would_have_been() -> None:
    low, high = list(range(1000)), list(range(1000, 90_000, 7))
    together, both = recorded(low), recorded(low + high)
    together.add(recorded(high))
    for percent in (1, 50, 99, 100):
        assert together.percentile(percent) == both.percentile(percent)
    assert (together.count, together.max) == (both.count, both.max)
