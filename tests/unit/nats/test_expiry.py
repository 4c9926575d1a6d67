"""Expiry is exact to the millisecond, and the error of the server's clock has a bound."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.nats.expiry import (
    ServerClock,
    epoch_ms,
    expires_at_headers,
    expiry_in,
    ttl_headers,
)

WRITTEN_MS = 1_800_000_000_000
EPOCH_S = 1_800_000_000.0
DELAYS = st.floats(0, 0.2)


class FakeMonotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("ttl", "milliseconds", "seconds"),
    [
        (timedelta(microseconds=1), "1", "1"),
        (timedelta(microseconds=1001), "2", "1"),
        (timedelta(seconds=1), "1000", "1"),
        (timedelta(seconds=1, microseconds=1), "1001", "2"),
    ],
)
def test_ttl_is_rounded_up(ttl: timedelta, milliseconds: str, seconds: str) -> None:
    assert ttl_headers(ttl) == {"Prism-TTL": milliseconds, "Nats-TTL": seconds}


def test_kept_expiry_allows_for_the_error_of_the_clock() -> None:
    now = FakeMonotonic()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.1, EPOCH_S, now.seconds)
    expires_at_ms = clock.now_ms() + 2000
    headers = expires_at_headers(expires_at_ms, clock)
    assert headers == {"Prism-Expires-At": str(expires_at_ms), "Nats-TTL": "3"}


@pytest.mark.parametrize(
    ("headers", "after_ms"),
    [
        ({"Prism-TTL": "1500", "Nats-TTL": "2"}, 1500),
        ({"Prism-Expires-At": str(WRITTEN_MS + 1), "Nats-TTL": "1"}, 1),
        ({"Nats-TTL": "3"}, 3000),
        ({"Nats-TTL": "1m0s"}, 60_000),
        ({"Nats-TTL": "2h0m1s"}, 7_201_000),
        ({"Nats-TTL": "1h"}, 3_600_000),
    ],
)
def test_expiry_is_read_from_the_headers(headers: dict[str, str], after_ms: int) -> None:
    assert expiry_in(headers, WRITTEN_MS) == WRITTEN_MS + after_ms


@pytest.mark.parametrize("ttl", ["never", "", "soon", "-1"])
def test_malformed_ttl_is_no_expiry(ttl: str) -> None:
    assert expiry_in({"Nats-TTL": ttl}, WRITTEN_MS) is None


def test_timestamp_is_never_rounded_down() -> None:
    assert epoch_ms("1970-01-01T00:00:01Z") == 1001
    assert epoch_ms("1970-01-01T00:00:01.000999999Z") == 1001
    assert epoch_ms("1970-01-01T00:00:01.5Z") == 1501


def test_clock_error_is_unbounded_before_the_first_answer() -> None:
    assert ServerClock(FakeMonotonic()).error_s == math.inf


@given(st.lists(st.tuples(DELAYS, DELAYS), min_size=1, max_size=10))
def test_clock_is_within_its_bound_of_the_true_time(trips: list[tuple[float, float]]) -> None:
    now = FakeMonotonic()
    clock = ServerClock(now)
    for to_server, back in trips:
        asked = now.seconds
        now.seconds += to_server
        server_time = EPOCH_S + now.seconds
        now.seconds += back
        clock.observe(asked, server_time, now.seconds)
        error = abs(clock.now_ms() / 1000 - (EPOCH_S + now.seconds))
        assert error <= clock.error_s + 0.002
        # The most exact answer counts, not the last one.
        assert clock.error_s <= min((a + b) / 2 for a, b in trips) + 0.2


def test_quick_answer_outweighs_slow_answers() -> None:
    now = FakeMonotonic()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.002, EPOCH_S, now.seconds)
    clock.observe(now.seconds - 3, EPOCH_S, now.seconds)
    assert clock.error_s < 0.002


def test_clock_error_grows_without_answers() -> None:
    now = FakeMonotonic()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.002, EPOCH_S, now.seconds)
    before = clock.error_s
    now.seconds += 60
    assert before < clock.error_s < before + 0.01


def test_server_clock_that_was_set_is_followed_at_once() -> None:
    now = FakeMonotonic()
    clock = ServerClock(now)
    clock.observe(now.seconds - 0.002, EPOCH_S, now.seconds)
    for step in (3600.0, -3600.0):
        clock.observe(now.seconds - 0.002, EPOCH_S + step, now.seconds)
        assert abs(clock.now_ms() / 1000 - (EPOCH_S + step)) < 0.01
