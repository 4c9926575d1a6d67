"""`prism backup` and `prism restore`: copies of the file of the SQLite driver."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_group

from prism.cli.parameters import AsJson, PanelCommand, example
from prism.cli.streams import write_json, write_line

if TYPE_CHECKING:
    from prism.adapters.sqlite.backup import Copied

app = typer.Typer(rich_markup_mode=None)

Database = Annotated[
    Path,
    typer.Option(
        "--sqlite-path",
        envvar="PRISM_SQLITE_PATH",
        metavar="PATH",
        help="File of the SQLite driver.",
    ),
]


@app.command(cls=PanelCommand, epilog=example("backup monday.db --sqlite-path prism.db"))
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to create.")],
    database: Database,
    as_json: AsJson = False,
) -> None:
    """Back up a SQLite file, and check the copy.

    A server may serve the file meanwhile.
    """
    from prism.adapters.sqlite.backup import back_up

    _show(back_up(database, file), file, as_json)


@app.command(cls=PanelCommand, epilog=example("restore monday.db --sqlite-path prism.db"))
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that `prism backup` wrote.")],
    database: Database,
    as_json: AsJson = False,
) -> None:
    """Create a SQLite file from a backup.

    Stop the server of the file first.
    """
    from prism.adapters.sqlite.backup import restore

    _show(restore(file, database), database, as_json)


def _show(copied: Copied, created: Path, as_json: bool) -> None:
    if as_json:
        write_json(
            file=str(created),
            keys=copied.keys,
            bytes=copied.bytes,
            seconds=round(copied.seconds, 3),
        )
        return
    write_line(
        f"{created}: {copied.keys:,} keys, {copied.bytes:,} bytes, checked, in"
        f" {copied.seconds:.1f} s"
    )


COMMANDS = get_group(app).commands
