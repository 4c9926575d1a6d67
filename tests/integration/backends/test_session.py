"""One script of `prism` commands prints the same, statuses included, with every backend."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.commands import COMMANDS

SESSION = Path(__file__).with_name("session.txt")

# `shown` puts the parts that differ from run to run in the place of which the session
# has letters; bash prints the statuses of commands.
PREAMBLE = r"""
set -o pipefail
field() { grep -o "\"$1\":\"[^\"]*\"" | cut -d '"' -f 4; }
sorted() { LC_ALL=C sort; }
begin() { printf '%s\n' "$1"; }
end() { status=$?; [ $status = 0 ] || echo "[$status]"; }
"""

VARYING: dict[str, Callable[[re.Match[str]], str]] = {
    r'(?<="version":")\d+': lambda found: "N",
    r'(?<="ttl_ms":)\d+': lambda found: f"{-(-int(found[0]) // 60_000) * 60_000}",
    r"^\d+\.\d{3}s$": lambda found: f"{-(-float(found[0][:-1]) // 60) * 60:.0f}s",
    r"in \d+\.\d s \([\d,]+ pairs?/s\)": lambda found: "in T",
}


def script_of(session: str) -> Iterator[str]:
    """The session as a script that writes a session again."""
    yield PREAMBLE
    for line in session.splitlines():
        if line.startswith("$ "):
            yield f"begin {_quoted(line)}; {{ {line[2:]}\n}} 2>&1; end"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", ["memstore", "redis", "nats", "sqlite"])
def test_a_session_is_the_same_on_every_backend(
    driver: str, address_of: Callable[[str], str], tmp_path: Path
) -> None:
    session = SESSION.read_text()
    # One of the sessions has a new interpreter for each command, as a person does.
    folder = Path(sys.executable).parent if driver == "memstore" else COMMANDS.folder
    programs = f"{folder}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": programs, "PRISM_ADDRESS": address_of(driver)}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script_of(session))],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    printed = done.stdout
    for varying, shown in VARYING.items():
        printed = re.sub(varying, shown, printed, flags=re.MULTILINE)
    expected = [line for line in session.splitlines() if line and not line.startswith("# ")]
    differences = unified_diff(expected, printed.splitlines(), "session", driver, lineterm="")
    if told := "\n".join(differences):
        pytest.fail(told, pytrace=False)
