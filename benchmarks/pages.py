"""Tables and charts of a run, written into the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.charts import CHARTS
from benchmarks.tables import full_table, short_table
from prism.testing.markdown_block import replace_block

TABLES = {"docs/performance.md": full_table, "README.md": short_table}


def draw(fields: Mapping[str, Any], folder: Path) -> list[Path]:
    """The files written, below the folder that holds README and docs.

    Args:
        fields: what a run of everything has written as JSON.

    Raises:
        ValueError: that run was of a part, or a page has no place for its table.
    """
    if not fields["complete"]:
        raise ValueError("only what a run of everything has measured goes into the documentation")
    pages = {
        folder / name: replace_block((folder / name).read_text(), "benchmark", table(fields))
        for name, table in TABLES.items()
    }
    pictures = {
        folder / "docs" / "pictures" / name: chart(fields) + "\n" for name, chart in CHARTS.items()
    }
    # Once all of it is there, so that no page tells of another run than its picture.
    for path, text in {**pages, **pictures}.items():
        path.write_text(text)
    return [*pages, *pictures]
