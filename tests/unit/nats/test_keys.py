"""Keys become subjects and come back, and a prefix becomes a filter."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.nats import keys

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(KEYS)
def test_a_key_comes_back_as_it_was(key: str) -> None:
    assert keys.decode(keys.encode(key)) == key


@given(KEYS)
def test_a_key_is_a_subject_that_every_client_takes(key: str) -> None:
    assert re.fullmatch(r"([0-9a-f]{2}\.)+=", keys.encode(key))


def test_the_longest_key_leaves_room_in_a_control_line() -> None:
    assert len(keys.encode("k" * 1024)) < 3_100


@given(KEYS, KEYS)
def test_a_filter_matches_the_keys_under_its_prefix_and_no_others(key: str, prefix: str) -> None:
    for each in (prefix, prefix[:1], key[: len(key) // 2 + 1]):
        under = key.encode().startswith(each.encode())
        assert _matches(keys.subjects_under(each), keys.encode(key)) is under


def test_the_empty_prefix_matches_every_key() -> None:
    assert _matches(keys.subjects_under(""), keys.encode("k"))


@pytest.mark.parametrize(
    "subject",
    ["", "=", ".=", "61", "61.", "6.=", "61.62", "6162.=", "61.zz.=", "61. 2.=", "FF.=", "ff.=",
     "C3.A9.=", "61..=", "name", "a.=", "61.=.=", ".61.="],
)  # fmt: skip
def test_what_is_no_key_of_ours_is_none(subject: str) -> None:
    assert keys.decode(subject) is None


def test_a_key_over_the_limit_is_none() -> None:
    assert keys.decode(keys.encode("k" * 1025)) is None


def _matches(pattern: str, subject: str) -> bool:
    """As the server has it: > is one token or more."""
    fixed = pattern.removesuffix(">")
    return subject.startswith(fixed) and len(subject) > len(fixed)
