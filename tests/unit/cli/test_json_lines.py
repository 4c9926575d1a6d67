from __future__ import annotations

import json
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prism.cli.kv.json_lines import InvalidLine, check, decode, encode
from prism.ports import Entry, Profile, Put, Version, VersionKind


def entry(value: bytes, expires_at_ms: int | None = None) -> Entry:
    return Entry(value, Version(1), expires_at_ms)


def test_text_is_written_as_text() -> None:
    line = encode("grüße\n", entry("日本 \x00 \u2028".encode()))
    assert line == '{"key":"grüße\\n","value":"日本 \\u0000 \u2028"}\n'.encode()


def test_binary_value_is_written_as_base64() -> None:
    assert encode("k", entry(b"\xff\x00")) == b'{"key":"k","value_base64":"/wA="}\n'


def test_remaining_ttl_is_at_least_one() -> None:
    in_a_minute = time.time_ns() // 1_000_000 + 60_000
    written = json.loads(encode("k", entry(b"", in_a_minute)))
    assert 50_000 < written["ttl_ms"] <= 60_000
    assert json.loads(encode("k", entry(b"", 1)))["ttl_ms"] == 1


@given(key=st.text(), value=st.binary())
def test_pair_is_read_as_it_was_written(key: str, value: bytes) -> None:
    line = encode(key, entry(value))
    assert line.count(b"\n") == 1
    assert decode(line) == Put(key, value)


@given(key=st.text(), text=st.text())
def test_lines_of_other_programs_are_read(key: str, text: str) -> None:
    line = json.dumps({"ttl_ms": 1500, "value": text, "key": key}).encode()
    assert decode(line) == Put(key, text.encode(), timedelta(milliseconds=1500))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"nope", "not JSON"),
        (b'{"key":"k","value":"v"} x', "not JSON"),
        (b'{"key":"k","value":"v"', "not JSON"),
        (b"\xff", "not UTF-8 at byte 1"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "not JSON"),
        (b'[["key","k"],["value","v"]]', "not a pair"),
        (b'"key"', "not a pair"),
        (b"null", "not a pair"),
        (b"{}", "'key' is missing"),
        (b'{"value":"v"}', "'key' is missing"),
        (b'{"key":1,"value":"v"}', "'key' is not text"),
        (b'{"key":null,"value":"v"}', "'key' is not text"),
        (b'{"key":"k"}', "neither of 'value' and 'value_base64'"),
        (b'{"key":"k","value":"v","value_base64":""}', "both of 'value' and 'value_base64'"),
        (b'{"key":"k","value":1}', "'value' is not text"),
        (b'{"key":"k","value":{"key":"k"}}', "'value' is not text"),
        (b'{"key":"k","value":"\\ud800"}', "'value' is not text"),
        (b'{"key":"k","value_base64":"!"}', "not base64"),
        (b'{"key":"k","value_base64":"YQ"}', "not base64"),
        (b'{"key":"k","value_base64":"YQ==YQ=="}', "not base64"),
        ('{"key":"k","value_base64":"é"}'.encode(), "not base64"),
        (b'{"key":"k","value":"v","ttl_ms":"1"}', "'ttl_ms' is not a whole number"),
        (b'{"key":"k","value":"v","ttl_ms":1.5}', "'ttl_ms' is not a whole number"),
        (b'{"key":"k","value":"v","ttl_ms":true}', "'ttl_ms' is not a whole number"),
        (b'{"key":"k","value":"v","ttl_ms":null}', "'ttl_ms' is not a whole number"),
        (b'{"key":"k","value":"v","ttl_ms":1e400}', "'ttl_ms' is not a whole number"),
        (b'{"key":"k","value":"v","ttl_ms":0}', "above zero"),
        (b'{"key":"k","value":"v","ttl_ms":-1}', "above zero"),
        (b'{"key":"k","value":"v","ttl_ms":1' + b"0" * 400 + b"}", "at most 100 years"),
        (b'{"key":"k","value":"v","ttl":1}', "unknown field 'ttl'"),
        (b'{"key":"k","key":"k","value":"v"}', "'key' is given twice"),
    ],
)
def test_malformed_line_is_rejected_with_the_reason(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidLine, match=reason):
        decode(line)


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (Put("", b""), "the key is empty"),
        (Put("k" * 1025, b""), "1,025 bytes"),
        (Put("\ud800", b""), "lone surrogate"),
        (Put("k", bytes((1 << 20) + 1)), "1,048,577 bytes"),
        (Put("k", b"", timedelta(seconds=1)), "does not support ttl"),
    ],
)
def test_pair_that_the_server_would_refuse_is_rejected(put: Put, reason: str) -> None:
    profile = Profile("plain", "1", VersionKind.REVISION)
    with pytest.raises(InvalidLine, match=reason):
        check(put, profile)


def test_size_of_a_pair_is_in_bytes() -> None:
    assert check(Put("é", b"123"), Profile("plain", "1", VersionKind.REVISION)) == 5
