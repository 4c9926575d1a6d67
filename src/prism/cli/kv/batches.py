"""The input of `load` as batches that a server takes, never all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from prism.cli.kv.json_lines import Refused, check, decode
from prism.ports import Profile, Put

_CHUNK_BYTES = 1 << 18
# A JSON text escapes a byte to \\u00XX at worst.
_WORST_ESCAPE = 6
_LINE_OVERHEAD_BYTES = 4096
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Batch:
    """Some lines of the input.

    Attributes:
        numbers: the line of each put.
        refused: lines that hold no pair to send, with the reason.
        last_line: the last line that this batch covers.
        end: how many bytes of the input have been read up to here, about.
    """

    puts: list[Put] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    last_line: int = 0
    end: int = 0
    keys: frozenset[str] = frozenset()

    def closed(self, last_line: int, end: int) -> Batch:
        self.last_line, self.end = last_line, end
        self.keys = frozenset([put.key for put in self.puts])
        return self


def batches(stream: BinaryIO, profile: Profile) -> Iterator[Batch]:
    """Read, decode and check; each batch is within the limits of the profile.

    A pair that is over the limit for batches by itself makes a batch of one.
    """
    limits = profile.limits
    max_line_bytes = (
        _WORST_ESCAPE * (limits.max_value_bytes + limits.max_key_bytes) + _LINE_OVERHEAD_BYTES
    )
    batch, size, number, end = Batch(), 0, 0, 0
    for number, (line, end) in enumerate(_lines(stream, max_line_bytes), start=1):
        try:
            if line is None:
                raise Refused(f"longer than {max_line_bytes:,} bytes, so than any valid pair")
            if not line.strip():
                continue
            put = decode(line.removeprefix(_BOM) if number == 1 else line)
            added = check(put, profile)
        except Refused as error:
            batch.refused.append((number, str(error)))
        else:
            if batch.puts and size + added > limits.max_batch_bytes:
                yield batch.closed(number - 1, end)
                batch, size = Batch(), 0
            batch.puts.append(put)
            batch.numbers.append(number)
            size += added
        # At once, and not with the next line: a pipe may keep us waiting for that.
        if len(batch.puts) + len(batch.refused) >= limits.max_batch_items:
            yield batch.closed(number, end)
            batch, size = Batch(), 0
    yield batch.closed(number, end)


def _lines(stream: BinaryIO, max_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """Each line without its newline, None for one that is too long; and bytes read so far."""
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
