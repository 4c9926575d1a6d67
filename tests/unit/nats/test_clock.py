"""What the server's clock says is known from asking it, within a bound."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.nats.clock import ServerClock

EPOCH = 1_800_000_000.0
DELAYS = st.floats(0, 0.2)


class Now:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_the_error_is_unbounded_before_the_first_answer() -> None:
    assert ServerClock(Now()).error == math.inf


@given(st.lists(st.tuples(DELAYS, DELAYS), min_size=1, max_size=10))
def test_the_clock_is_within_its_bound_of_the_true_one(trips: list[tuple[float, float]]) -> None:
    now = Now()
    clock = ServerClock(now)
    for there, back in trips:
        asked = now.seconds
        now.seconds += there
        said = EPOCH + now.seconds
        now.seconds += back
        clock.observe(asked, said, now.seconds)
        wrong = abs(clock.now_ms() / 1000 - (EPOCH + now.seconds))
        assert wrong <= clock.error + 0.002
        # The best answer so far counts, and not the last.
        assert clock.error <= min((a + b) / 2 for a, b in trips) + 0.2


def test_one_quick_answer_outweighs_slow_ones() -> None:
    now = Now()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.002, EPOCH, now.seconds)
    clock.observe(now.seconds - 3, EPOCH, now.seconds)
    assert clock.error < 0.002


def test_the_error_grows_while_nothing_is_heard() -> None:
    now = Now()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.002, EPOCH, now.seconds)
    before = clock.error
    now.seconds += 60
    assert before < clock.error < before + 0.01


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    now = Now()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.002, EPOCH, now.seconds)
    for step in (3600.0, -3600.0):
        clock.observe(now.seconds - 0.002, EPOCH + step, now.seconds)
        assert abs(clock.now_ms() / 1000 - (EPOCH + step)) < 0.01
