"""For processes that coverage shall not follow."""

from __future__ import annotations

import os
from collections.abc import Mapping


def unmeasured() -> Mapping[str, str]:
    """The environment of one: it is timed, or runs another copy of Prism than is measured."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}
