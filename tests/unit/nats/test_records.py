"""What the headers of a message say of a key."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prism.adapters.nats.records import (
    NOTHING,
    epoch_ms,
    milliseconds,
    record_of,
    sequence_of,
    version_of,
)

WRITTEN_MS = 1_800_000_000_000


@pytest.mark.parametrize("headers", [None, {}, {"Nats-Sequence": "7"}])
def test_a_message_without_more_is_a_value_for_ever(headers: dict[str, str] | None) -> None:
    record = record_of(b"", headers, 7, WRITTEN_MS)
    assert record.is_alive(1 << 62)
    assert record.entry.value == b""
    assert record.entry.expires_at_ms is None


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
def test_a_message_ends_to_the_millisecond(headers: dict[str, str], after_ms: int) -> None:
    record = record_of(b"value", headers, 7, WRITTEN_MS)
    assert record.expires_at_ms == WRITTEN_MS + after_ms
    assert record.is_alive(WRITTEN_MS + after_ms - 1)
    assert not record.is_alive(WRITTEN_MS + after_ms)


@pytest.mark.parametrize("ttl", ["never", "", "soon", "-1"])
def test_a_ttl_that_is_none_ends_nothing(ttl: str) -> None:
    assert record_of(b"value", {"Nats-TTL": ttl}, 7, WRITTEN_MS).expires_at_ms is None


@pytest.mark.parametrize(
    "headers",
    [{"KV-Operation": "PURGE"}, {"KV-Operation": "DEL"}, {"Nats-Marker-Reason": "MaxAge"}],
)
def test_tombstones_and_markers_are_absent_keys(headers: dict[str, str]) -> None:
    assert not record_of(b"", headers, 7, WRITTEN_MS).is_alive(0)


def test_nothing_is_an_absent_key() -> None:
    assert not NOTHING.is_alive(0)


def test_a_version_tells_whether_the_key_expires() -> None:
    assert sequence_of(version_of(7, expires=True)) == (7, True)
    assert sequence_of(version_of(7, expires=False)) == (7, False)


def test_a_ttl_is_rounded_up() -> None:
    assert milliseconds(timedelta(microseconds=1)) == 1
    assert milliseconds(timedelta(microseconds=1001)) == 2
    assert milliseconds(timedelta(seconds=1)) == 1000


def test_a_timestamp_is_never_rounded_down() -> None:
    assert epoch_ms("1970-01-01T00:00:01Z") == 1001
    assert epoch_ms("1970-01-01T00:00:01.000999999Z") == 1001
    assert epoch_ms("1970-01-01T00:00:01.5Z") == 1501
