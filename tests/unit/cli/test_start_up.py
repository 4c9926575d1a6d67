from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"dependency_injector", "h2corn", "redis", "nats", "grpc", "rich", "opentelemetry"}


def loaded_by(arguments: list[str]) -> set[str]:
    """Return the heavy libraries that a command line has imported when it ends."""
    script = f"""
import atexit, sys
atexit.register(lambda: sys.stderr.write("LOADED " + " ".join({HEAVY} & set(sys.modules))))
sys.argv = ["prism", *{arguments}]
from prism.cli import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    return set(ended.stderr.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["kv", "--help"], ["kv", "get", "--nope"]]
)
def test_help_and_errors_import_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_by(arguments) == set()


def test_a_client_command_imports_nothing_heavy() -> None:
    assert loaded_by(["kv", "get", "k", "--address", "127.0.0.1:1"]) == set()
