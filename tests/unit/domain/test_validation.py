"""Rules for keys, prefixes, values, ttls and deltas."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prism.domain.validation import check_delta, check_key, check_prefix, check_ttl, check_value
from prism.ports import MAX_TTL, InvalidArgument


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("k", 1),
        ("\0", 1),
        ("a b/c.*>:\n", 10),
        ("é", 2),
        ("😀", 4),
        ("x" * 1024, 1024),
        ("😀" * 256, 1024),
    ],
)
def test_the_size_of_a_valid_key_is_returned(key: str, size: int) -> None:
    assert check_key(key) == size


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "empty"),
        ("x" * 1025, "1,025 bytes"),
        ("😀" * 256 + "x", "1,025 bytes"),
        ("ab\ud800", r"U\+D800 at character 2"),
    ],
)
def test_an_invalid_key_is_refused_with_a_reason(key: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        check_key(key)


def test_an_empty_prefix_is_valid_and_a_surrogate_is_not() -> None:
    check_prefix("")
    with pytest.raises(InvalidArgument, match="the prefix is not text"):
        check_prefix("\udfff")


def test_a_value_over_the_limit_names_both_sizes() -> None:
    assert check_value(b"x" * 10, 10) == 10
    with pytest.raises(InvalidArgument, match="11 bytes; the limit is 10"):
        check_value(b"x" * 11, 10)


@pytest.mark.parametrize("ttl", [timedelta(microseconds=1), MAX_TTL])
def test_a_ttl_within_the_bounds_is_valid(ttl: timedelta) -> None:
    check_ttl(ttl)


@pytest.mark.parametrize(
    "ttl", [timedelta(), timedelta(seconds=-1), MAX_TTL + timedelta(microseconds=1)]
)
def test_a_ttl_outside_the_bounds_is_refused(ttl: timedelta) -> None:
    with pytest.raises(InvalidArgument, match="above zero and at most 100 years"):
        check_ttl(ttl)


def test_a_delta_is_a_signed_64_bit_integer() -> None:
    check_delta((1 << 63) - 1)
    check_delta(-(1 << 63))
    with pytest.raises(InvalidArgument, match="64-bit"):
        check_delta(1 << 63)
