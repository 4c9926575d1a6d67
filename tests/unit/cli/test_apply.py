"""`prism kv apply`, and the format of its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from prism.cli.kv.apply import read_transaction
from prism.cli.kv.json_lines import InvalidLine
from prism.ports import Condition, Delete, Presence, Put, Version

Prism = Callable[..., Result]


def test_a_file_has_conditions_and_writes() -> None:
    text = rb"""
    {
      "conditions": [
        {"key": "a", "version": "18446744073709551615"},
        {"key": "b\n\u0000", "exists": false},
        {"key": "c", "exists": true},
        {"key": "d", "version": 0}
      ],
      "writes": [
        {"key": "a", "value": "1"},
        {"key": "b", "value_base64": "/w==", "ttl_ms": 1500},
        {"key": "c", "delete": true}
      ]
    }
    """
    assert read_transaction(text) == (
        [
            Condition("a", Version((1 << 64) - 1)),
            Condition("b\n\0", Presence.ABSENT),
            Condition("c", Presence.PRESENT),
            Condition("d", Version(0)),
        ],
        [Put("a", b"1"), Put("b", b"\xff", timedelta(milliseconds=1500)), Delete("c")],
    )
    assert read_transaction(b"{}") == ([], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "not JSON"),
        (b"[]", "an object with conditions and writes is expected"),
        (b'{"write": []}', "unknown field 'write'; the valid ones are: conditions, writes"),
        (b'{"writes": {}}', "the field 'writes' is not a list"),
        (b'{"writes": [1]}', "item 1 of writes: an object is expected"),
        (
            b'{"writes": [{"key": "a"}]}',
            "item 1 of writes: has neither of 'value' and 'value_base64'",
        ),
        (b'{"writes": [{"key": "a", "delete": false}]}', "the field 'delete' is not true"),
        (b'{"writes": [{"key": "a", "delete": true, "value": ""}]}', "'delete' goes with 'key'"),
        (b'{"writes": [{"delete": true}, {}]}', "item 1 of writes: the field 'key' is missing"),
        (b'{"conditions": [{"key": "a"}]}', "item 1 of conditions: has neither of 'version' and"),
        (b'{"conditions": [{"key": "a", "version": "1", "exists": true}]}', "both of 'version'"),
        (b'{"conditions": [{"key": "a", "exists": 1}]}', "'exists' is not true or false"),
        (b'{"conditions": [{"key": "a", "version": "-1"}]}', "is not a number that"),
        (b'{"conditions": [{"key": "a", "version": 18446744073709551616}]}', "is not a number"),
        (b'{"conditions": [{"key": "a", "version": true}]}', "is not a number that"),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(InvalidLine) as refusal:
        read_transaction(text)
    assert reason in str(refusal.value)


def test_apply_prints_what_each_write_did(prism: Prism, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    prism("kv", "set", "cart", "apple")
    file.write_text(
        json.dumps(
            {
                "conditions": [{"key": "order", "exists": False}],
                "writes": [
                    {"key": "order", "value": "apple"},
                    {"key": "cart", "delete": True},
                    {"key": "gone", "delete": True},
                ],
            }
        )
    )
    result = prism("kv", "apply", str(file), "--json")
    assert result.exit_code == 0
    order, cart, gone = json.loads(result.stdout)["writes"]
    assert cart == {"key": "cart", "existed": True}
    assert gone == {"key": "gone", "existed": False}
    read = json.loads(prism("kv", "get", "order", "--json").stdout)
    assert order == {"key": "order", "version": read["version"]}
    assert prism("kv", "exists", "cart").exit_code == 3


def test_a_condition_that_does_not_hold_is_a_conflict(prism: Prism) -> None:
    text = b'{"conditions":[{"key":"k","exists":true}],"writes":[{"key":"k","value":"v"}]}'
    result = prism("kv", "apply", "-", stdin=text)
    assert result.exit_code == 4
    assert result.stderr == (
        "prism: condition 1 of 1 does not hold: the key is absent, and the condition requires it "
        "to exist; it was not applied; its key is 'k'\n"
    )
    assert prism("kv", "exists", "k").exit_code == 3
    error = json.loads(prism("kv", "apply", "-", "--json", stdin=text).stderr)
    assert (error["code"], error["reason"], error["outcome"]) == (
        "ABORTED",
        "CONDITION_FAILED",
        "not_applied",
    )


def test_a_file_that_is_no_transaction_is_a_wrong_argument(prism: Prism) -> None:
    result = prism("kv", "apply", "-", stdin=b"[]")
    assert result.exit_code == 2
    assert "-: an object with conditions and writes is expected" in result.stderr
    assert prism("kv", "apply", "no-such-file").exit_code == 1


def test_without_json_the_number_of_writes_is_said(prism: Prism) -> None:
    result = prism("kv", "apply", "-", stdin=b'{"writes":[{"key":"a","value":"1"}]}')
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "prism: applied 1 write\n")
