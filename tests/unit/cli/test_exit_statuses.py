from __future__ import annotations

import re
from pathlib import Path

from prism.cli.errors import ExitStatus

DOCS = Path(__file__).parents[3] / "docs"


def test_every_exit_status_is_in_the_docs() -> None:
    text = (DOCS / "command-line.md").read_text()
    listed = {int(status) for status in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    # 0 is success, 2 is Typer's own, 143 is a second SIGTERM.
    assert listed == {0, 2, 143, *ExitStatus}
