from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from prism.cli import app
from prism.ports.operations import OPERATIONS

if TYPE_CHECKING:
    from typer._click import Command

# Operations that a command of another name makes.
COMMANDS = {
    "compare_and_set": "set",
    "compare_and_delete": "delete",
    "increment": "incr",
    "get_many": "dump",
    "set_many": "load",
    # `prism bench` deletes its keys in batches.
    "delete_many": "delete",
}


def leaves(command: Command, *path: str) -> Iterator[tuple[tuple[str, ...], Command]]:
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from leaves(child, *path, name)
    else:
        yield path, command


ALL = {path: command for path, command in leaves(get_command(app)) if not command.hidden}


@pytest.fixture
def help_of() -> Callable[..., str]:
    def run(*args: str) -> str:
        result = CliRunner().invoke(app, [*args, "--help"])
        assert result.exit_code == 0
        return result.stdout

    return run


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_ends_with_an_example_that_can_be_typed(
    path: tuple[str, ...], help_of: Callable[..., str]
) -> None:
    *_, heading, line = help_of(*path).splitlines()
    assert heading == "  Example:"
    program, *arguments = shlex.split(line)
    assert program == "prism"
    assert tuple(arguments[: len(path)]) == path
    # Parsed and checked, but not run.
    ALL[path].make_context(path[-1], arguments[len(path) :])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_a_command(operation: str) -> None:
    assert ("kv", COMMANDS.get(operation, operation)) in ALL


def headings(text: str) -> list[str]:
    return [line[:-1] for line in text.splitlines() if line.endswith(":") and line[0] != " "]


def test_options_of_a_server_are_under_headings(help_of: Callable[..., str]) -> None:
    assert headings(help_of("serve")) == [
        "Options",
        "Listening",
        "TLS and access",
        "Limits",
        "Shutdown",
        "Observability",
        "Redis protocol",
        "Start",
        "Driver memstore",
    ]


def test_options_of_a_proxy_are_under_headings(help_of: Callable[..., str]) -> None:
    assert headings(help_of("proxy", "--pattern", "a=memstore"))[-2:] == [
        "Proxy",
        "Pattern a (driver memstore)",
    ]


def test_options_of_a_connection_are_under_headings(help_of: Callable[..., str]) -> None:
    assert headings(help_of("kv", "get")) == [
        "Arguments",
        "Options",
        "Connection",
        "TLS",
        "Tracing",
    ]


def test_flags_that_a_proxy_gives_its_patterns_are_not_shown(help_of: Callable[..., str]) -> None:
    assert "--proxy" not in help_of("serve")
