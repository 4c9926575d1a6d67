"""Environment variables of the tests and of the processes that they start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 4 << 30


def environment_without_coverage() -> Mapping[str, str]:
    """Return the environment for a process that is timed, or runs another copy of Prism."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}


def keep_files_in_memory() -> None:
    """Let temporary files be in memory, where that is large enough and TMPDIR names no folder.

    Servers of tests wait for each write to reach the disk, which takes a quarter of their time.
    """
    is_chosen = "TMPDIR" not in os.environ and _MEMORY.is_dir()
    if is_chosen and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES:
        os.environ["TMPDIR"] = str(_MEMORY)
