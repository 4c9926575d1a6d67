"""Output of processes in the log of the proxy."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from prism.adapters.process.output import MAX_LINE_BYTES, LineSplitter
from tests.unit.process.conftest import Launch, Records


def printing(*lines: object) -> str:
    return "".join(f"print({line!r})\n" for line in lines)


async def test_json_line_keeps_level_message_time_and_fields(
    launch: Launch, records: Records
) -> None:
    printed = {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "warning",
        "message": "the backend is slow",
        "logger": "prism.adapters.redis",
        "backend": "127.0.0.1:6379",
    }
    process = await launch(printing(json.dumps(printed)))
    await process.wait()
    (record,) = records.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "the backend is slow"
    assert record.name == "prism.adapters.redis"
    assert record.created == 1767323045.678
    fields = vars(record)
    assert fields["backend"] == "127.0.0.1:6379"
    assert (fields["pattern"], fields["pattern_pid"]) == ("sessions", process.pid)


async def test_any_other_line_is_the_message(launch: Launch, records: Records) -> None:
    lines = ["plain text", "50% of {it}", '{"not": "ours"}', "{broken", "[1]"]
    process = await launch(printing(*lines))
    await process.wait()
    assert records.messages == lines
    assert {record.levelno for record in records.records} == {logging.INFO}


async def test_stderr_and_invalid_utf8_are_logged(launch: Launch, records: Records) -> None:
    process = await launch("import os; os.write(2, b'caf\\xe9\\r\\n')")
    await process.wait()
    assert records.messages == ["caf\\xe9"]


async def test_fields_do_not_replace_attributes_of_the_record(
    launch: Launch, records: Records
) -> None:
    printed = {
        "message": "m",
        "args": [1],
        "exc_info": "Traceback",
        "pattern": "another",
        "msg": "x",
    }
    process = await launch(printing(json.dumps(printed)))
    await process.wait()
    (record,) = records.records
    assert record.getMessage() == "m"
    assert record.exc_info is None
    assert vars(record)["pattern_exc_info"] == "Traceback"
    assert vars(record)["pattern"] == "sessions"


async def test_debug_lines_are_not_logged_at_level_info(launch: Launch, records: Records) -> None:
    debug = {"level": "debug", "message": "details", "logger": "prism.x"}
    process = await launch(printing(json.dumps(debug)))
    await process.wait()
    assert records.messages == []


async def test_flood_of_lines_is_limited_and_counted(launch: Launch, records: Records) -> None:
    count = 100_000
    process = await launch(f"for i in range({count}): print('line', i)\nraise SystemExit(1)")
    async with asyncio.timeout(60):
        ended = await process.wait()
    # The last line is kept although it was dropped.
    assert ended == f"exited with status 1: line {count - 1}"
    logged = [each for each in records.messages if each.startswith("line")]
    dropped = [each.split()[0] for each in records.messages if "lines dropped" in each]
    assert len(logged) + sum(int(each.replace(",", "")) for each in dropped) == count
    assert 200 <= len(logged) < 2000


@pytest.mark.parametrize("line", ["x" * 99 + "\n", "\n", "x"], ids=["lines", "empty", "endless"])
async def test_flood_leaves_processor_and_loop_to_others(
    launch: Launch, records: Records, line: str
) -> None:
    process = await launch(
        f"import os\nflood = {line.encode()!r} * (60_000 // {len(line)})\n"
        "os.write(1, b'begins\\n')\n"
        "while True: os.write(1, flood)"
    )
    await records.until("begins")
    begun_s, cpu_s = time.monotonic(), time.process_time()
    turns = 0
    # A busy machine has less time for this loop, and for the flood.
    async with asyncio.timeout(30):
        while time.monotonic() < begun_s + 1 or turns <= 50:
            await asyncio.sleep(0.001)
            turns += 1
    assert time.process_time() - cpu_s < 0.5 * (time.monotonic() - begun_s)
    process.kill()
    await process.wait()


async def test_long_line_is_cut(launch: Launch, records: Records) -> None:
    process = await launch("print('y' * 1_000_000); print('next')")
    await process.wait()
    first, second = records.messages
    assert first == "y" * MAX_LINE_BYTES + " [cut]"
    assert second == "next"


def test_line_in_pieces_is_one_line() -> None:
    lines = LineSplitter()
    assert [lines.feed(piece) for piece in (b"on", b"e\ntw", b"o\n\nthr")] == [
        [],
        [b"one"],
        [b"two"],
    ]
    assert lines.flush() == [b"thr"]
    assert lines.flush() == []


async def test_lone_surrogate_in_json_is_escaped(launch: Launch, records: Records) -> None:
    line = '{"level": "error", "message": "caf\\udce9", "path": "\\udce9.db"}'
    process = await launch(f"print({line!r}); raise SystemExit(3)")
    assert await process.wait() == "exited with status 3: caf\\udce9"
    (record,) = records.records
    assert record.getMessage() == "caf\\udce9"
    assert vars(record)["path"] == "\\udce9.db"
