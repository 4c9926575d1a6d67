"""`prism kv apply`: writes of several keys from a file, all of them or none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.connection import KeyCommand, connection_of
from prism.cli.errors import print_message
from prism.cli.kv.json_lines import InvalidLine
from prism.cli.kv.transaction_file import Transaction, read_transaction
from prism.cli.parameters import AsJson, example
from prism.cli.streams import version_field, write_json
from prism.ports import ConditionFailed, Delete, Version, Write
from prism.ports.text import counted

app = typer.Typer(rich_markup_mode=None)


@app.command(cls=KeyCommand, epilog=example("kv apply order.json"))
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON; `-`: stdin.")],
    as_json: AsJson = False,
) -> None:
    """Write several keys, all or none.

    Writes at one moment, and only if all conditions of the file hold. The file: {"conditions":
    [{"key": …, "version": … or "exists": …}], "writes": [{"key": …, "value": … or "value_base64":
    …, "ttl_ms": …} or {"key": …, "delete": true}]}. Exit status 4 if a condition does not hold.
    """
    conditions, writes = _read(file)
    try:
        results = connection_of(ctx).call("apply", lambda client: client.apply(conditions, writes))
    except ConditionFailed as error:
        if error.index < len(conditions):
            error.add_note(f"its key is {conditions[error.index].key!r}")
        raise
    if as_json:
        write_json(
            writes=[_result(*pair) for pair in zip(writes, results, strict=True)],
        )
    else:
        print_message(f"applied {counted(len(writes), 'write')}")


def _read(file: Path) -> Transaction:
    text = typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
    try:
        return read_transaction(text)
    except InvalidLine as error:
        raise typer.BadParameter(f"{file}: {error}") from None


def _result(write: Write, result: Version | bool) -> dict[str, object]:
    if isinstance(write, Delete):
        return {"key": write.key, "existed": result}
    return {"key": write.key, "version": version_field(Version(result))}
