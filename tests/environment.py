"""Environment of processes that coverage must not measure."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environment_without_coverage() -> Mapping[str, str]:
    """Return the environment for a process that is timed, or runs another copy of Prism."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}
