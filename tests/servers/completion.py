"""Completion of `prism` as a shell asks for it: by environment variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def completions(line: str, folder: Path) -> list[str]:
    """Return the words that a shell offers for the last word of the line, which may be empty."""
    environment = {
        **os.environ,
        "_PRISM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "prism.cli"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr == ""
    return ended.stdout.split()
