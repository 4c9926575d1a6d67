"""`prism kv dump`: every pair as JSON Lines, sorted by key.

Lists and sorts the keys, then reads them in batches, several at a time, and writes in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from prism.cli.connection import KeyCommand, connection_of
from prism.cli.errors import ExitStatus, print_message
from prism.cli.kv.json_lines import encode
from prism.cli.kv.retry import is_fatal, retry_exhausted
from prism.cli.parameters import PrefixOption, example
from prism.cli.progress import Progress, Stopwatch, progress_bar
from prism.cli.streams import in_thread, unbuffered, write_all, write_json
from prism.ports import Capability, Entry, Exhausted, Limits, PrismError, ScanExpired
from prism.ports.text import counted

if TYPE_CHECKING:
    from prism import Client

_PARTS_IN_FLIGHT = 4
_FIRST_SIZE = 100
_SCANS = 3

Outcome = Entry | PrismError | None


app = typer.Typer(rich_markup_mode=None)


@app.command(cls=KeyCommand, epilog=example("kv dump -o backup.jsonl"))
def dump(
    ctx: typer.Context,
    prefix: PrefixOption = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file instead of stdout; it is replaced only on success.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --output: print the counts as JSON on stdout.")
    ] = False,
) -> None:
    """Print every pair as JSON Lines.

    Sorted by key; `prism kv load` reads it. Keys that are created or deleted during the dump may or
    may not be in it. To copy everything: prism kv dump --address A | prism kv load --address B -
    """
    to_stdout = output is None or str(output) == "-"
    watch = Stopwatch()
    with _output(output) as stream, _progress(to_stdout) as progress:
        dumper = Dumper(prefix, stream, progress)
        try:
            connection_of(ctx).run(dumper.run)
        except (PrismError, KeyboardInterrupt, BrokenPipeError) as error:
            error.add_note(f"{counted(dumper.dumped, 'pair')} dumped")
            raise
    if as_json and not to_stdout:
        write_json(dumped=dumper.dumped, unread=dumper.unread, seconds=round(watch.seconds, 3))
    unread = f", could not read {dumper.unread:,}" if dumper.unread else ""
    print_message(f"dumped {dumper.dumped:,}{unread} {watch.rate(dumper.dumped)}")
    if dumper.unread:
        raise typer.Exit(ExitStatus.FAILURE)


def _progress(to_stdout: bool) -> contextlib.AbstractContextManager[Progress]:
    # A bar would stand between the lines.
    if to_stdout and sys.stdout.isatty():
        return contextlib.nullcontext(Progress())
    return progress_bar("dumping")


@contextlib.contextmanager
def _output(output: Path | None) -> Iterator[BinaryIO]:
    if output is None or str(output) == "-":
        yield unbuffered(typer.get_binary_stream("stdout"), "wb")
    elif output.exists() and not output.is_file():
        # A device or a pipe is written to, not replaced.
        with output.open("wb", buffering=0) as stream:
            yield stream
    else:
        with _replacement(output.resolve()) as stream:
            yield stream


@contextlib.contextmanager
def _replacement(target: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces the target when the block succeeds."""
    if not target.parent.is_dir():
        raise typer.BadParameter(
            f"the folder {str(target.parent)!r} does not exist: create it, or give another file",
            param_hint="'--output' / '-o'",
        )
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb", buffering=0) as stream:
            yield stream
            os.fsync(stream.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class _Part:
    """Adjacent keys of the sorted list, which are read together."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys
        self.task: asyncio.Task[Sequence[Outcome]] | None = None

    def start(self, client: Client) -> asyncio.Task[Sequence[Outcome]]:
        if self.task is None:
            self.task = asyncio.create_task(_read(client, self.keys))
        return self.task


class Dumper:
    """One run of `dump`.

    Attributes:
        dumped: number of pairs written.
        unread: number of keys that could not be read, and were reported.
    """

    def __init__(self, prefix: str, stream: BinaryIO, progress: Progress) -> None:
        self.dumped = 0
        self.unread = 0
        self._prefix = prefix
        self._stream = stream
        self._progress = progress
        self._parts: deque[_Part] = deque()
        # Number of keys in the next part; follows the size of the values.
        self._size = 1

    async def run(self, client: Client) -> None:
        """Dump every pair under the prefix.

        Raises:
            PrismError: the server fails; `dumped` counts what was written before.
        """
        self._size = min(_FIRST_SIZE, _most_keys(client.profile.limits))
        keys = sorted(await self._list(client))
        taken = done = 0
        try:
            while taken < len(keys) or self._parts:
                while taken < len(keys) and len(self._parts) < _PARTS_IN_FLIGHT:
                    self._parts.append(_Part(keys[taken : taken + self._size]))
                    taken += len(self._parts[-1].keys)
                for part in islice(self._parts, _PARTS_IN_FLIGHT):
                    part.start(client)
                done += await self._write_first(client)
                self._progress.show(done, len(keys))
        finally:
            tasks = [part.task for part in self._parts if part.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _list(self, client: Client) -> set[str]:
        """Return every key; a scan may repeat some."""
        keys: set[str] = set()
        scans = 0
        token = ""
        while True:
            try:
                page = await client.scan(
                    self._prefix,
                    page_size=client.profile.limits.max_page_size,
                    page_token=token,
                )
            except ScanExpired:
                scans += 1
                if scans == _SCANS:
                    raise
                token = ""
                continue
            keys.update(page.keys)
            token = page.next_token
            if not token:
                return keys

    async def _write_first(self, client: Client) -> int:
        """Write the first part, up to the keys that did not fit; return the number of keys."""
        part = self._parts[0]
        outcomes = await part.start(client)
        self._parts.popleft()
        fitting = next(
            (at for at, outcome in enumerate(outcomes) if isinstance(outcome, Exhausted)),
            len(outcomes),
        )
        if fitting == 0:
            # A reply for one key has room for a larger value than a batch has.
            outcomes = [await _get(client, part.keys[0])]
            fitting = 1
        answered = outcomes[:fitting]
        data = await in_thread(lambda: self._encode(part.keys, answered))
        await in_thread(lambda: write_all(self._stream, data))
        self._resize(client, answered, whole=fitting == len(part.keys))
        self._put_back(part.keys[fitting:])
        return fitting

    def _encode(self, keys: Sequence[str], outcomes: Sequence[Outcome]) -> bytes:
        lines = []
        for key, outcome in zip(keys, outcomes, strict=False):
            if isinstance(outcome, Entry):
                lines.append(encode(key, outcome))
            elif isinstance(outcome, PrismError):
                self.unread += 1
                self._progress.print_message(f"key {key!r}: {outcome.message}")
        self.dumped += len(lines)
        return b"".join(lines)

    def _resize(self, client: Client, answered: Sequence[Outcome], *, whole: bool) -> None:
        """Choose how many keys to read next, so that their values fit one reply."""
        limits = client.profile.limits
        size = sum(len(entry.value) for entry in answered if isinstance(entry, Entry))
        fits = limits.max_batch_bytes * len(answered) // (size + 1)
        wanted = 2 * self._size if whole else len(answered)
        self._size = max(1, min(wanted, fits, _most_keys(limits)))

    def _put_back(self, keys: Sequence[str]) -> None:
        parts = [_Part(keys[at : at + self._size]) for at in range(0, len(keys), self._size)]
        self._parts.extendleft(reversed(parts))


def _most_keys(limits: Limits) -> int:
    """Return how many keys of any length one request may have."""
    return max(1, min(limits.max_batch_items, limits.max_batch_bytes // limits.max_key_bytes))


async def _read(client: Client, keys: Sequence[str]) -> Sequence[Outcome]:
    """Return one outcome for each key; raises errors that are about the server."""
    outcomes: Sequence[Outcome]
    if Capability.BATCH in client.profile.capabilities:
        outcomes = await retry_exhausted(lambda: client.get_many(keys))
    else:
        outcomes = await asyncio.gather(*(_get(client, key) for key in keys))
    for outcome in outcomes:
        if isinstance(outcome, PrismError) and is_fatal(outcome):
            raise outcome
    return outcomes


async def _get(client: Client, key: str) -> Outcome:
    try:
        return await retry_exhausted(lambda: client.get(key))
    except PrismError as error:
        return error
