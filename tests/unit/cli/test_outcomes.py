from __future__ import annotations

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
def test_write_with_unknown_outcome_says_so(
    prism: Prism, monkeypatch: pytest.MonkeyPatch, method: str, arguments: list[str]
) -> None:
    monkeypatch.setattr(Gateway, method, failing(Outcome.UNKNOWN))
    result = prism("kv", *arguments)
    assert result.exit_code == 1
    assert result.stderr == "prism: no answer; it may or may not have been applied\n"
    monkeypatch.setattr(Gateway, method, failing(Outcome.NOT_APPLIED))
    assert prism("kv", *arguments).stderr == "prism: no answer\n"


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
