"""Rules of a transaction, which the gateway checks before it calls a driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from prism.adapters.memstore.settings import MemstoreSettings, profile_of
from prism.domain.transactions import check_transaction
from prism.ports import (
    Capability,
    Condition,
    Delete,
    Entry,
    InvalidArgument,
    Limits,
    Presence,
    PrismError,
    Put,
    Unsupported,
    Version,
    Write,
)

PROFILE = replace(
    profile_of(MemstoreSettings()),
    limits=Limits(max_value_bytes=10, max_batch_items=4, max_batch_bytes=20),
)
ABSENT, PRESENT = Presence.ABSENT, Presence.PRESENT


@pytest.mark.parametrize(
    ("conditions", "writes", "message"),
    [
        (
            [Condition("a", ABSENT), Condition("", PRESENT)],
            [],
            "condition 2 of 2: the key is empty; a key is 1 to 1,024 bytes of UTF-8",
        ),
        ([], [Put("a", b"x" * 11)], "write 1 of 1: the value has 11 bytes; the limit is 10"),
        (
            [],
            [Delete("a"), Put("b", b"", timedelta())],
            "write 2 of 2: the ttl is 0 s; it must be above zero and at most 100 years",
        ),
        (
            [],
            [Delete("a"), Put("b", b""), Put("a", b"")],
            "write 1 and write 3 name the same key: a transaction may have one write for a key",
        ),
        (
            [Condition("a", Version(1)), Condition("a", ABSENT)],
            [],
            "condition 1 and condition 2 name the same key: a transaction may have one condition "
            "for a key",
        ),
        (
            [Condition("a", ABSENT)],
            [Delete(key) for key in "abcd"],
            "the transaction has 5 conditions and writes; the limit is 4",
        ),
        (
            [Condition("a", ABSENT)],
            [Put("b", bytes(10)), Put("c", bytes(8))],
            "the transaction has 21 bytes of keys and values; the limit is 20",
        ),
    ],
)
def test_what_is_wrong_with_a_transaction_is_said(
    conditions: Sequence[Condition], writes: Sequence[Write], message: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        check_transaction(conditions, writes, PROFILE)
    assert refusal.value.message == message


def test_a_ttl_needs_the_capability() -> None:
    profile = replace(PROFILE, capabilities={})
    check_transaction([], [Put("a", b"")], profile)
    with pytest.raises(Unsupported, match="write 1 of 1: the driver 'memstore' does not offer ttl"):
        check_transaction([], [Put("a", b"", timedelta(seconds=1))], profile)
    check_transaction([], [Put("a", b"", timedelta(seconds=1))], PROFILE)


def test_a_transaction_at_the_limits_is_accepted() -> None:
    conditions = [Condition("a", ABSENT), Condition("b", PRESENT)]
    check_transaction(conditions, [Put("a", bytes(10)), Put("b", bytes(6))], PROFILE)


@pytest.mark.parametrize(
    ("expected", "version", "is_met"),
    [
        (ABSENT, None, True),
        (ABSENT, Version(0), False),
        (PRESENT, None, False),
        (PRESENT, Version(0), True),
        (Version(0), None, False),
        (Version(0), Version(0), True),
        (Version(1), Version(2), False),
    ],
)
def test_condition_is_met_by_exactly_what_it_expects(
    expected: Version | Presence, version: Version | None, is_met: bool
) -> None:
    assert Condition("k", expected).is_met_by(version) is is_met


def test_unchanged_expects_what_was_read() -> None:
    assert Condition.unchanged("k", None) == ("k", ABSENT)
    assert Condition.unchanged("k", Entry(b"v", Version(7))) == ("k", 7)


def test_the_error_keeps_its_class_and_reason() -> None:
    with pytest.raises(PrismError) as refusal:
        check_transaction([], [Put("k" * 1025, b"")], PROFILE)
    assert type(refusal.value) is InvalidArgument
    assert refusal.value.reason == "INVALID_ARGUMENT"
    assert Capability.TRANSACTIONS in PROFILE.capabilities
