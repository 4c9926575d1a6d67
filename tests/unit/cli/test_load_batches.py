from __future__ import annotations

import io
from typing import Any

import pytest

from prism.cli.kv.load import Batch, batches
from prism.ports import Limits, Profile, Put, VersionKind

LIMITS = Limits(max_value_bytes=1000, max_batch_items=3, max_batch_bytes=100)
PROFILE = Profile("plain", "1", VersionKind.REVISION, {}, LIMITS)


class Trickle(io.RawIOBase):
    """A pipe that hands over a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._step)


def cut(data: bytes, step: int = 1 << 18) -> list[Batch]:
    stream: Any = Trickle(data, step)
    return list(batches(stream, PROFILE))


def line(key: str, value: str = "v") -> bytes:
    return f'{{"key":"{key}","value":"{value}"}}\n'.encode()


def test_a_batch_holds_no_more_items_than_the_server_takes() -> None:
    assert [len(batch.puts) for batch in cut(b"".join(line(f"k{n}") for n in range(7)))] == [
        3,
        3,
        1,
    ]


def test_a_batch_holds_no_more_bytes_than_the_server_takes() -> None:
    found = cut(line("a", "x" * 60) + line("b", "x" * 60) + line("c", "x" * 30))
    assert [[put.key for put in batch.puts] for batch in found] == [["a"], ["b", "c"]]


def test_a_pair_over_the_limit_for_batches_goes_alone() -> None:
    found = cut(line("a") + line("b", "x" * 500) + line("c"))
    assert [[put.key for put in batch.puts] for batch in found] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_lines_are_found_however_the_input_arrives(step: int) -> None:
    found = cut(line("a") + b"\n  \r\n" + line("b").replace(b"\n", b"\r\n") + b'{"key":', step)
    assert [put for batch in found for put in batch.puts] == [Put("a", b"v"), Put("b", b"v")]
    assert [number for batch in found for number in batch.numbers] == [1, 4]
    assert [number for batch in found for number, _ in batch.refused] == [5]
    assert found[-1].last_line == 5


def test_the_last_line_needs_no_newline() -> None:
    assert cut(line("a").strip())[0].puts == [Put("a", b"v")]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert cut(b"\xef\xbb\xbf" + line("a"))[0].puts == [Put("a", b"v")]


@pytest.mark.parametrize("step", [1000, 1 << 18])
def test_a_line_longer_than_any_pair_is_passed_over(step: int) -> None:
    found = cut(line("a") + line("b", "x" * 100_000) + line("c"), step)
    assert [put.key for batch in found for put in batch.puts] == ["a", "c"]
    [(number, reason)] = [refused for batch in found for refused in batch.refused]
    assert number == 2
    assert "longer than" in reason


def test_a_file_of_refused_lines_is_no_single_batch() -> None:
    assert [len(batch.refused) for batch in cut(b"nope\n" * 7)] == [3, 3, 1]


def test_an_empty_input_holds_no_pairs() -> None:
    assert [batch.puts for batch in cut(b"")] == [[]]
