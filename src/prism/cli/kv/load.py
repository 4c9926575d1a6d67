"""`prism kv load`: pairs from JSON Lines into a server."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from prism.cli.connection import Connection, connected_to_keys
from prism.cli.errors import Status, tell
from prism.cli.kv.loader import Loader
from prism.cli.kv.progress import Stopwatch, progress
from prism.cli.output import write_json
from prism.cli.threads import unbuffered
from prism.ports import PrismError


@connected_to_keys
def load(
    connection: Connection,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines; `-`: stdin.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON on stdout.")
    ] = False,
) -> None:
    """Write the pairs of a file: {"key": …, "value": … or "value_base64": …, "ttl_ms": …}.

    Lines that are malformed, or refused by the server, are reported by their
    number, and the rest is loaded; the exit status is then 1.
    """
    watch = Stopwatch()
    with _opened(file) as stream, progress("loading", total=_size_of(stream)) as shown:
        loader = Loader(stream, shown)
        try:
            connection.run(loader.run)
        except (PrismError, KeyboardInterrupt) as error:
            error.add_note(loader.how_far())
            raise
    if as_json:
        write_json(loaded=loader.loaded, refused=loader.refused, seconds=round(watch.seconds, 3))
    tell(f"loaded {loader.loaded:,}, refused {loader.refused:,} {watch.rate(loader.loaded)}")
    if loader.refused:
        raise typer.Exit(Status.FAILURE)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield unbuffered(typer.get_binary_stream("stdin"), "rb")
    else:
        with file.open("rb", buffering=0) as stream:
            yield stream


def _size_of(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
