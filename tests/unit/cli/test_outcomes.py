from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from prism.domain.gateway import Gateway
from prism.ports import BackendTimeout, Outcome

Prism = Callable[..., Result]


def failing(outcome: Outcome) -> Callable[..., Any]:
    async def fail(*arguments: Any, **options: Any) -> Any:
        raise BackendTimeout("no answer", outcome=outcome)

    return fail


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("set", ["set", "k", "v"]),
        ("compare_and_set", ["set", "k", "v", "--if-absent"]),
        ("delete", ["delete", "k"]),
        ("increment", ["incr", "k"]),
        ("expire", ["expire", "k", "1s"]),
        ("persist", ["persist", "k"]),
    ],
)
def test_a_failed_write_says_whether_it_was_applied(
    prism: Prism, monkeypatch: pytest.MonkeyPatch, method: str, arguments: list[str]
) -> None:
    monkeypatch.setattr(Gateway, method, failing(Outcome.UNKNOWN))
    result = prism("kv", *arguments)
    assert result.exit_code == 1
    assert result.stderr == "prism: no answer; it may or may not have been applied\n"
    monkeypatch.setattr(Gateway, method, failing(Outcome.NOT_APPLIED))
    assert prism("kv", *arguments).stderr == "prism: no answer; it was not applied\n"


@pytest.mark.parametrize("outcome", Outcome)
def test_with_json_an_error_is_an_object_with_code_reason_and_outcome(
    prism: Prism, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    monkeypatch.setattr(Gateway, "set", failing(outcome))
    result = prism("kv", "set", "k", "v", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr) == {
        "code": "DEADLINE_EXCEEDED",
        "reason": "DEADLINE_EXCEEDED",
        "message": "no answer",
        "outcome": outcome,
    }
    monkeypatch.setattr(Gateway, "get", failing(outcome))
    assert json.loads(prism("kv", "get", "k", "--json").stderr)["outcome"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "code", "reason"),
    [
        ("set k v --if-version 1", 4, "ABORTED", "VERSION_CONFLICT"),
        ("set k v --ttl 5", 2, None, "USAGE"),
        ("set k v --unknown", 2, None, "USAGE"),
        ("set k --file no-such-file", 1, None, "OS_ERROR"),
        ("set", 2, None, "USAGE"),
    ],
)
def test_with_json_every_error_is_an_object(
    prism: Prism, arguments: str, status: int, code: str | None, reason: str
) -> None:
    result = prism("kv", *arguments.split(), "--json")
    error = json.loads(result.stderr)
    assert (result.exit_code, error["code"], error["reason"]) == (status, code, reason)
    assert error["message"]


def test_a_value_that_is_named_like_the_flag_leaves_errors_as_text(prism: Prism) -> None:
    result = prism("kv", "get", "--", "--json")
    assert (result.exit_code, result.stderr) == (3, "prism: there is no key '--json'\n")


def test_a_value_beyond_the_limit_is_not_applied_and_names_the_limit(prism: Prism) -> None:
    result = prism("kv", "set", "k", stdin=b"x" * (10 << 20))
    assert result.exit_code == 1
    assert result.stderr == (
        "prism: the value has 10,485,760 bytes; the limit is 1,024; it was not applied\n"
    )


def test_failed_read_says_nothing_about_its_outcome(
    prism: Prism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gateway, "get", failing(Outcome.UNKNOWN))
    assert prism("kv", "get", "k").stderr == "prism: no answer\n"


def test_ctrl_c_is_status_130(prism: Prism, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Gateway, "set", interrupt)
    result = prism("kv", "set", "k", "v")
    assert result.exit_code == 130
    assert result.stderr == "prism: interrupted; it may or may not have been applied\n"


def test_defect_is_one_line(prism: Prism, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Gateway, "get", fail)
    result = prism("kv", "get", "k")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "ZeroDivisionError: oops" in result.stderr
