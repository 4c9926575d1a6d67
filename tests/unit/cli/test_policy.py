"""`prism policy`: answers, exit statuses, and tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prism.cli import app
from prism.domain.access.tokens import digest_of, parse_tokens

POLICY = """
[[rules]]
name = "own keys"
who = "token:*"
role = "own prefix"

[[examples]]
as = "token:a"
may = "write"
key = "{key}"
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.replace("{key}", "a/1"))
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["--may", "write", "--key", "a/1"], 0, "allowed by rule 1 (own keys)"),
        (["--may", "write", "--key", "b/1"], 1, "refused: no rule allows it"),
        (["--may", "watch"], 1, "refused: no rule allows it; allowed with the prefixes 'a/'"),
    ],
)
def test_check_names_the_rule(policy: Path, arguments: list[str], status: int, line: str) -> None:
    result = CliRunner().invoke(
        app, ["policy", "check", str(policy), "--as", "token:a", *arguments]
    )
    assert (result.exit_code, result.stdout) == (status, line + "\n")


def test_check_prints_json(policy: Path) -> None:
    result = CliRunner().invoke(
        app, ["policy", "check", str(policy), "--as", "token:a", "--may", "scan", "--json"]
    )
    assert json.loads(result.stdout) == {
        "allowed": False,
        "rule": None,
        "within": ["a/"],
        "quota": None,
        "as": ["token:a"],
        "may": "scan",
        "key": "",
        "pattern": None,
    }


def test_check_names_the_quota(policy: Path) -> None:
    with policy.open("a") as file:
        file.write('\n[[quotas]]\nwho = "token:*"\nwatches = 3\n')
    command = ["policy", "check", str(policy), "--as", "token:a", "--may", "write", "--key", "a/1"]
    result = CliRunner().invoke(app, command)
    assert result.stdout == "allowed by rule 1 (own keys)\nlimited by quota 1: 3 watches\n"


def test_test_runs_the_examples(policy: Path) -> None:
    result = CliRunner().invoke(app, ["policy", "test", str(policy)])
    assert (result.exit_code, result.stdout) == (0, f"{policy}: 1 rule; 1 of 1 examples hold\n")
    policy.write_text(POLICY.replace("{key}", "b/1"))
    result = CliRunner().invoke(app, ["policy", "test", str(policy)])
    assert (result.exit_code, result.stdout) == (1, f"{policy}: 1 rule; 0 of 1 examples hold\n")
    assert result.stderr == (
        "prism: token:a write 'b/1' should be allowed, and is refused: no rule allows it\n"
    )


def test_a_token_fits_its_line() -> None:
    result = CliRunner().invoke(app, ["policy", "token", "orders", "--json"])
    made = json.loads(result.stdout)
    found = parse_tokens(made["line"]).find(digest_of(made["token"]))
    assert found is not None
    assert str(found) == "token:orders"
