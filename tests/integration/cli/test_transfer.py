from __future__ import annotations

import contextlib
import json
import re
import signal
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prism

EVERY_CHARACTER = range(0x110000)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the name and value of every character, sorted: some 140,000 pairs."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    pairs = {unicodedata.name(chr(code), ""): chr(code) for code in EVERY_CHARACTER}
    pairs.pop("")
    file = tmp_path_factory.mktemp("real") / "names.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for name in sorted(pairs):
            lines.write(f'{{"key":{encode(name)},"value":{encode(pairs[name])}}}\n')
    return file


def pairs(first: int, last: int) -> bytes:
    return b"".join(b'{"key":"k%06d","value":"v"}\n' % number for number in range(first, last))


async def until_it_exists(address: str, key: str) -> None:
    async with prism.connect(address) as client:
        while not await client.exists(key):
            pass


def acknowledged(stderr: bytes) -> int:
    found = re.search(rb"([\d,]+) pairs? acknowledged", stderr)
    assert found is not None
    return int(found[1].replace(b",", b""))


def test_dump_prints_what_was_loaded(cli: Any, names: Path, tmp_path: Path) -> None:
    loaded = cli("kv", "load", str(names))
    assert loaded.returncode == 0
    assert re.fullmatch(rb"prism: loaded 1\d\d,\d{3}, refused 0 in .* pairs/s\)\n", loaded.stderr)
    target = tmp_path / "dump.jsonl"
    dumped = cli("kv", "dump", "-o", str(target))
    assert re.fullmatch(rb"prism: dumped 1\d\d,\d{3} in .* pairs/s\)\n", dumped.stderr)
    assert target.read_bytes() == names.read_bytes()


def test_pipe_copies_everything_to_another_server(
    start_server: Callable[..., Any], cli_at: Callable[[str], Any]
) -> None:
    odd = (
        pairs(0, 5000)
        + b'{"key":"leaves","value":"","ttl_ms":3600000}\n'
        + '{"key":"binary \\u0000 é","value_base64":"//79"}\n'.encode()
    )
    source, target = (
        cli_at(server.serving().address) for server in (start_server(), start_server())
    )
    source("kv", "load", "-", stdin=odd)
    dump = source.begin("kv", "dump")
    load = target.begin("kv", "load", "-", stdin=dump.stdout)
    dump.stdout.close()
    with dump, load:
        assert b"loaded 5,002, refused 0" in load.stderr.read()
    assert (dump.returncode, load.returncode) == (0, 0)
    assert target("kv", "ttl", "leaves").stdout.startswith(b"35")
    without_ttl = [
        [line for line in cli("kv", "dump").stdout.splitlines() if b"ttl" not in line]
        for cli in (source, target)
    ]
    assert without_ttl[0] == without_ttl[1]
    assert len(without_ttl[0]) == 5001


async def test_ctrl_c_during_a_load_reports_what_was_loaded(cli: Any) -> None:
    load = cli.begin("kv", "load", "-")
    with load:
        load.stdin.write(pairs(0, 10_500))
        load.stdin.flush()
        # Its stdin stays open: it waits for more when it is interrupted.
        await until_it_exists(cli.address, "k009999")
        load.send_signal(signal.SIGINT)
        told = load.stderr.read()
        assert load.wait() == 130
    assert told.startswith(b"prism: interrupted; ")
    assert told.count(b"\n") == 1
    count = acknowledged(told)
    assert 6000 <= count <= 10_000
    async with prism.connect(cli.address) as client:
        assert await client.exists(f"k{count - 1:06}")


async def test_dead_server_during_a_load_reports_what_was_loaded(server: Any, cli: Any) -> None:
    load = cli.begin("kv", "load", "-")
    with load:
        load.stdin.write(pairs(0, 4000))
        load.stdin.flush()
        await until_it_exists(cli.address, "k003999")
        server.process.kill()
        server.process.wait()
        # It may be gone before it has read all of this.
        with contextlib.suppress(BrokenPipeError):
            load.stdin.write(pairs(4000, 20_000))
            load.stdin.close()
        told = load.stderr.read()
    assert load.returncode == 1
    assert told.count(b"\n") == 1
    assert acknowledged(told) <= 4000
    # Whether anything is unknown depends on whether more was written before it died.
    assert b"no Prism server answers" in told


def test_failed_dump_leaves_the_file_unchanged(cli: Any, tmp_path: Path) -> None:
    target = tmp_path / "dump.jsonl"
    target.write_text("before")
    cli("lifecycle", "drain")
    assert cli("kv", "dump", "-o", str(target)).returncode == 1
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_large_values_are_copied(cli: Any) -> None:
    lines = b"".join(
        b'{"key":"large/%02d","value":"%s"}\n' % (number, b"x" * (1 << 20)) for number in range(20)
    )
    loaded = cli("kv", "load", "-", stdin=lines)
    assert b"loaded 20, refused 0" in loaded.stderr
    assert cli("kv", "dump", "--prefix", "large/").stdout == lines
