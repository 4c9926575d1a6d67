"""`prism kv dump`: every pair of a server as JSON Lines, sorted by key."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from prism.cli.arguments import PrefixOption
from prism.cli.connection import Connection, connected_to_keys
from prism.cli.errors import Status, tell
from prism.cli.kv.dumper import Dumper
from prism.cli.kv.progress import Stopwatch, progress
from prism.cli.output import write_json
from prism.cli.threads import unbuffered
from prism.ports import PrismError


@connected_to_keys
def dump(
    connection: Connection,
    prefix: PrefixOption = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Instead of stdout; whole, or not at all."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --output: print the counts as JSON on stdout.")
    ] = False,
) -> None:
    """Print every pair as JSON Lines, sorted by key, for `prism kv load`.

    Keys that appear or vanish meanwhile may or may not be in it. To move
    everything: prism kv dump --address A | prism kv load --address B -
    """
    to_stdout = output is None or str(output) == "-"
    watch = Stopwatch()
    showable = not (to_stdout and sys.stdout.isatty())
    with _opened(output) as stream, progress("dumping", wanted=showable) as shown:
        dumper = Dumper(prefix, stream, shown)
        try:
            connection.run(dumper.run)
        except (PrismError, KeyboardInterrupt, BrokenPipeError) as error:
            error.add_note(f"{dumper.dumped:,} pairs were dumped")
            raise
    if as_json and not to_stdout:
        write_json(dumped=dumper.dumped, unread=dumper.unread, seconds=round(watch.seconds, 3))
    unread = f", could not read {dumper.unread:,}" if dumper.unread else ""
    tell(f"dumped {dumper.dumped:,}{unread} {watch.rate(dumper.dumped)}")
    if dumper.unread:
        raise typer.Exit(Status.FAILURE)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    if output is None or str(output) == "-":
        yield unbuffered(typer.get_binary_stream("stdout"), "wb")
    elif output.exists() and not output.is_file():
        # A device or a pipe is not to be replaced by a file.
        with output.open("wb", buffering=0) as stream:
            yield stream
    else:
        with _replaced(output.resolve()) as stream:
            yield stream


@contextlib.contextmanager
def _replaced(target: Path) -> Iterator[BinaryIO]:
    """A file that takes its place, whole, when the block succeeds."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb", buffering=0) as stream:
            yield stream
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
