"""Keys become subjects, a prefix becomes a filter, and a message becomes a record."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.adapters.nats.encoding import (
    ABSENT,
    decode_key,
    decode_record,
    decode_version,
    encode_key,
    encode_version,
    prefix_filter,
)

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
WRITTEN_MS = 1_800_000_000_000


@given(KEYS)
def test_decoding_returns_the_encoded_key(key: str) -> None:
    assert decode_key(encode_key(key)) == key


@given(KEYS)
def test_encoded_key_is_a_subject_that_every_client_accepts(key: str) -> None:
    assert re.fullmatch(r"([0-9a-f]{2}\.)+=", encode_key(key))


def test_longest_key_leaves_space_in_a_control_line() -> None:
    assert len(encode_key("k" * 1024)) < 3_100


@given(KEYS, KEYS)
def test_prefix_filter_matches_the_keys_under_the_prefix_and_no_others(
    key: str, prefix: str
) -> None:
    for each in (prefix, prefix[:1], key[: len(key) // 2 + 1]):
        is_under = key.encode().startswith(each.encode())
        assert _matches(prefix_filter(each), encode_key(key)) is is_under


def test_filter_of_the_empty_prefix_matches_every_key() -> None:
    assert _matches(prefix_filter(""), encode_key("k"))


@pytest.mark.parametrize(
    "subject",
    ["", "=", ".=", "61", "61.", "6.=", "61.62", "6162.=", "61.zz.=", "61. 2.=", "FF.=", "ff.=",
     "C3.A9.=", "61..=", "name", "a.=", "61.=.=", ".61.="],
)  # fmt: skip
def test_subject_that_encodes_no_key_decodes_to_none(subject: str) -> None:
    assert decode_key(subject) is None


def test_key_over_the_limit_decodes_to_none() -> None:
    assert decode_key(encode_key("k" * 1025)) is None


@pytest.mark.parametrize("headers", [None, {}, {"Nats-Sequence": "7"}])
def test_message_without_expiry_headers_never_expires(headers: dict[str, str] | None) -> None:
    record = decode_record(b"", headers, 7, WRITTEN_MS)
    assert record.is_alive(1 << 62)
    assert record.entry.value == b""
    assert record.entry.expires_at_ms is None


def test_record_is_alive_until_the_millisecond_of_its_expiry() -> None:
    record = decode_record(b"value", {"Prism-TTL": "1500"}, 7, WRITTEN_MS)
    assert record.expires_at_ms == WRITTEN_MS + 1500
    assert record.is_alive(WRITTEN_MS + 1499)
    assert not record.is_alive(WRITTEN_MS + 1500)


@pytest.mark.parametrize(
    "headers",
    [{"KV-Operation": "PURGE"}, {"KV-Operation": "DEL"}, {"Nats-Marker-Reason": "MaxAge"}],
)
def test_tombstones_and_markers_are_absent_keys(headers: dict[str, str]) -> None:
    assert not decode_record(b"", headers, 7, WRITTEN_MS).is_alive(0)


def test_key_without_a_message_is_absent() -> None:
    assert not ABSENT.is_alive(0)


@pytest.mark.parametrize("expires", [True, False])
def test_version_says_whether_the_key_expires(expires: bool) -> None:
    assert decode_version(encode_version(7, expires=expires)) == (7, expires)


def _matches(pattern: str, subject: str) -> bool:
    """Match as the server does: > stands for one token or more."""
    fixed = pattern.removesuffix(">")
    return subject.startswith(fixed) and len(subject) > len(fixed)
