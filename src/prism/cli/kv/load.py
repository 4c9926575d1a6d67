"""`prism kv load`: pairs from JSON Lines into a server, in batches, several at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from prism.cli.connection import KeyCommand, connection_of
from prism.cli.errors import ExitStatus, print_message
from prism.cli.kv.json_lines import InvalidLine, check, decode
from prism.cli.kv.retry import is_fatal, retry_exhausted
from prism.cli.parameters import example
from prism.cli.progress import Progress, Stopwatch, progress_bar
from prism.cli.streams import in_thread, unbuffered, write_json
from prism.ports import Capability, Outcome, PrismError, Profile, Put
from prism.ports.text import counted

if TYPE_CHECKING:
    from prism import Client

_BATCHES_IN_FLIGHT = 4
# For a backend without batches.
_SINGLES = 16
_SINGLES_IN_FLIGHT = 32

_CHUNK_BYTES = 1 << 18
# JSON text escapes one byte to at most six: \\u00XX.
_WORST_ESCAPE = 6
_LINE_OVERHEAD_BYTES = 4096
_BOM = b"\xef\xbb\xbf"


app = typer.Typer(rich_markup_mode=None)


@app.command(cls=KeyCommand, epilog=example("kv load backup.jsonl"))
def load(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines; `-`: stdin.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the counts as JSON on stdout.")
    ] = False,
) -> None:
    """Write the pairs of a JSON Lines file.

    A line: {"key": …, "value": … or "value_base64": …, "ttl_ms": …}.

    Lines that are malformed, or that the server refuses, are reported with their number. The
    other lines are loaded, and the exit status is 1.
    """
    watch = Stopwatch()
    with _input(file) as stream, progress_bar("loading", total=_size_of(stream)) as progress:
        loader = Loader(stream, progress)
        try:
            connection_of(ctx).run(loader.run)
        except (PrismError, KeyboardInterrupt) as error:
            error.add_note(loader.summary())
            raise
    if as_json:
        write_json(loaded=loader.loaded, refused=loader.refused, seconds=round(watch.seconds, 3))
    counts = f"loaded {loader.loaded:,}, refused {loader.refused:,}"
    print_message(f"{counts} {watch.rate(loader.loaded)}")
    if loader.refused:
        raise typer.Exit(ExitStatus.FAILURE)


@contextlib.contextmanager
def _input(file: Path) -> Iterator[BinaryIO]:
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


@dataclass(frozen=True, slots=True)
class _Sent:
    batch: PutBatch
    task: asyncio.Task[None]


class Loader:
    """One run of `load`.

    Attributes:
        loaded: number of pairs that the server acknowledged.
        refused: number of lines that were reported as not loaded.
        settled_line: number of the last line before which every line was loaded or reported.
    """

    def __init__(self, stream: BinaryIO, progress: Progress) -> None:
        self.loaded = 0
        self.refused = 0
        self.settled_line = 0
        self._unanswered = 0
        self._stream = stream
        self._progress = progress
        self._sent: deque[_Sent] = deque()
        self._window = _BATCHES_IN_FLIGHT

    async def run(self, client: Client) -> None:
        """Load the whole stream.

        Raises:
            PrismError: the server fails; `summary` says what was loaded before.
        """
        profile = client.profile
        if not _has_batch(profile):
            profile = replace(profile, limits=replace(profile.limits, max_batch_items=_SINGLES))
            self._window = _SINGLES_IN_FLIGHT
        source = batches(self._stream, profile)
        try:
            while (batch := await in_thread(lambda: next(source, None))) is not None:
                for number, reason in batch.refused:
                    self._refuse(number, reason)
                while self._must_wait(batch):
                    await self._settle_oldest()
                task = asyncio.create_task(self._send(client, batch))
                self._sent.append(_Sent(batch, task))
            while self._sent:
                await self._settle_oldest()
        except PrismError:
            # The outcomes of the other batches count too; each has its deadline.
            await self._finish()
            raise
        finally:
            for sent in self._sent:
                sent.task.cancel()
            await self._finish()

    def summary(self) -> str:
        """Return how far a run got that ended early."""
        text = f"{counted(self.loaded, 'pair')} acknowledged"
        if self.settled_line:
            text += f", including every line up to {self.settled_line:,}"
        if self._unanswered:
            text += f"; {self._unanswered:,} more may or may not have been applied"
        return text

    def _must_wait(self, batch: PutBatch) -> bool:
        # Batches in flight may overtake each other, which matters only if they share a key.
        return bool(self._sent) and (
            len(self._sent) >= self._window
            or self._sent[0].task.done()
            or any(not sent.batch.keys.isdisjoint(batch.keys) for sent in self._sent)
        )

    async def _settle_oldest(self) -> None:
        sent = self._sent[0]
        await sent.task
        self._sent.popleft()
        self.settled_line = sent.batch.last_line
        self._progress.show(sent.batch.end)

    async def _finish(self) -> None:
        await asyncio.gather(*(sent.task for sent in self._sent), return_exceptions=True)

    async def _send(self, client: Client, batch: PutBatch) -> None:
        if not batch.puts:
            return
        self._unanswered += len(batch.puts)
        outcomes = await self._outcomes(client, batch.puts)
        self._unanswered -= len(batch.puts)
        failures: list[PrismError] = []
        for number, outcome in zip(batch.numbers, outcomes, strict=True):
            if isinstance(outcome, PrismError):
                failures.append(outcome)
                self._refuse(number, _reason(outcome))
        self.loaded += len(outcomes) - len(failures)
        if len(failures) == len(outcomes) and all(map(is_fatal, failures)):
            raise failures[0]

    async def _outcomes(self, client: Client, puts: Sequence[Put]) -> Sequence[object]:
        try:
            return await _set_all(client, puts)
        except PrismError as error:
            if not is_fatal(error):
                return [error] * len(puts)
            if error.outcome is Outcome.NOT_APPLIED:
                self._unanswered -= len(puts)
            raise

    def _refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        self._progress.print_message(f"line {number}: {reason}")


async def _set_all(client: Client, puts: Sequence[Put]) -> Sequence[object]:
    if len(puts) > 1 and _has_batch(client.profile):
        return await retry_exhausted(lambda: client.set_many(puts))
    # One by one: the same key may be among them twice.
    return [await _set_one(client, put) for put in puts]


async def _set_one(client: Client, put: Put) -> object:
    try:
        return await retry_exhausted(lambda: client.set(put.key, put.value, ttl=put.ttl))
    except PrismError as error:
        return error


def _has_batch(profile: Profile) -> bool:
    return Capability.BATCH in profile.capabilities


def _reason(error: PrismError) -> str:
    unknown = error.outcome is Outcome.UNKNOWN
    return f"{error.message}; it may or may not have been applied" if unknown else error.message


@dataclass(slots=True)
class PutBatch:
    """Consecutive lines of the input.

    Attributes:
        numbers: line number of each put.
        refused: line numbers without a valid pair, each with the reason.
        last_line: number of the last line in this batch.
        end: about how many bytes of the input have been read up to here.
        keys: keys of the puts.
    """

    puts: list[Put] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    last_line: int = 0
    end: int = 0
    keys: frozenset[str] = frozenset()

    def closed(self, last_line: int, end: int) -> PutBatch:
        self.last_line, self.end = last_line, end
        self.keys = frozenset([put.key for put in self.puts])
        return self


def batches(stream: BinaryIO, profile: Profile) -> Iterator[PutBatch]:
    """Read, decode and check the lines; each batch is within the limits of the profile.

    A pair that exceeds the limit for batches is a batch of one.
    """
    limits = profile.limits
    max_line_bytes = (
        _WORST_ESCAPE * (limits.max_value_bytes + limits.max_key_bytes) + _LINE_OVERHEAD_BYTES
    )
    batch, size, number, end = PutBatch(), 0, 0, 0
    for number, (line, end) in enumerate(_lines(stream, max_line_bytes), start=1):
        try:
            if line is None:
                raise InvalidLine(
                    f"longer than {max_line_bytes:,} bytes, longer than any valid pair"
                )
            if not line.strip():
                continue
            put = decode(line.removeprefix(_BOM) if number == 1 else line)
            added = check(put, profile)
        except InvalidLine as error:
            batch.refused.append((number, str(error)))
        else:
            if batch.puts and size + added > limits.max_batch_bytes:
                yield batch.closed(number - 1, end)
                batch, size = PutBatch(), 0
            batch.puts.append(put)
            batch.numbers.append(number)
            size += added
        # Not with the next line: a pipe may take its time for that.
        if len(batch.puts) + len(batch.refused) >= limits.max_batch_items:
            yield batch.closed(number, end)
            batch, size = PutBatch(), 0
    yield batch.closed(number, end)


def _lines(stream: BinaryIO, max_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line without its newline (None: too long), with the number of bytes read."""
    begun: list[bytes] = []
    begun_bytes = end = 0
    too_long = False
    while chunk := stream.read(_CHUNK_BYTES):
        end += len(chunk)
        first, *rest = chunk.split(b"\n")
        begun_bytes += len(first)
        too_long = too_long or begun_bytes > max_bytes
        if too_long:
            begun.clear()
        else:
            begun.append(first)
        if not rest:
            continue
        *whole, last = rest
        yield None if too_long else b"".join(begun), end
        for line in whole:
            yield line if len(line) <= max_bytes else None, end
        begun, begun_bytes, too_long = [last], len(last), len(last) > max_bytes
    if begun_bytes:
        yield None if too_long else b"".join(begun), end
