"""The tables of docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prism.testing.markdown_block import replace_block
from tests.matrix.cells import all_cells
from tests.matrix.environments import PROJECT
from tests.matrix.results import CellResult, Count, Results

DOCUMENT = PROJECT / "docs" / "compatibility.md"


def write_tables(results: Results) -> None:
    """Replace the tables in the document."""
    text = DOCUMENT.read_text()
    # They may have been run in another order.
    order = [cell.name for cell in all_cells()]
    found = [results.cells[name] for name in sorted(results.cells, key=order.index)]
    for table, first_columns in (("redis", _server), ("nats", _server), ("python", _python)):
        cells = [each for each in found if each.table == table]
        if cells:
            text = replace_block(text, table, "\n".join(_table(cells, first_columns)))
    refusals = [f"| {name} | {sentence} |" for name, sentence in sorted(results.refusals.items())]
    text = replace_block(
        text, "refused", "\n".join(["| server | what Prism says |", "|---|---|", *refusals])
    )
    DOCUMENT.write_text(text)


def _server(cell: CellResult) -> list[str]:
    ((product, version, source),) = cell.servers or [["", "", ""]]
    return [f"{product} {version}", source]


def _python(cell: CellResult) -> list[str]:
    return [cell.python, cell.dependencies]


def _table(
    cells: Sequence[CellResult], first_columns: Callable[[CellResult], list[str]]
) -> Iterable[str]:
    titles = (
        ["server", "from"] if first_columns is _server else ["Python and libraries", "versions"]
    )
    groups = next((list(cell.groups) for cell in cells if cell.groups), [])
    header = [*titles, *groups, "date"]
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    for cell in cells:
        if cell.unavailable:
            blank = " |" * len(groups)
            yield f"| {cell.label} | not run: {cell.unavailable} |{blank} {cell.date} |"
        else:
            counts = [_text(cell.groups.get(name, Count())) for name in groups]
            yield f"| {' | '.join([*first_columns(cell), *counts, cell.date])} |"


def _text(count: Count) -> str:
    return f"✗ {count.failed}, ✓ {count.passed}" if count.failed else f"✓ {count.passed}"
