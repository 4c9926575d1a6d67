"""A whole store moves from one kind of backend to another, by `dump` and `load`."""

from __future__ import annotations

import json
import random
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.integration.backends.conftest import Deploy
from tests.integration.cli.conftest import CommandLine

PAIRS = 50_000
LARGEST = 512 << 10
TTL_TOLERANCE_MS = 60_000
WITHIN_S = 60.0

# What some server or format may take for something else.
AWKWARD = (
    *(" ", "\0", "\n", "\r\n", "\t", "\\", '"', "'", "*", ">", ".", "..", "/", ":", "?", "[a-z]"),
    *("^", "$", "{}", "\x7f", "\x80", "\ufeff", "\ufffd", "\u2028", "é", "e\u0301", "🦄", "="),
    *("\U0010ffff", "prism:", "$KV.prism.>", "k" * 1024, "é" * 512),
)


def pairs() -> Iterator[dict[str, Any]]:
    """Most values are small, a few are large: some 60 MB in all."""
    source = random.Random(20)
    keys = chain(AWKWARD, (f"user/{n:05}{AWKWARD[n % 29]}" for n in range(PAIRS - len(AWKWARD))))
    for number, key in enumerate(keys):
        size = (0, 1, LARGEST)[number % 3] if number < 60 else int(source.paretovariate(1.1) * 90)
        value = source.randbytes(min(size, LARGEST))
        pair: dict[str, Any] = {"key": key}
        if number % 2:
            pair["value"] = value.hex()[: len(value)]
        else:
            pair["value_base64"] = b64encode(value).decode()
        if number % 4 == 0:
            pair["ttl_ms"] = source.randrange(3_600_000, 86_400_000)
        yield pair


@pytest.mark.slow
def test_a_store_moves_from_redis_over_sqlite_to_nats(
    deploy: Deploy, address_of: Callable[[str], str], tmp_path: Path
) -> None:
    source = deploy("redis")
    between = CommandLine(address_of("sqlite"))
    # The test servers sync each write, which this is not about.
    target = deploy("nats", settings={"jetstream": {"store_dir": str(tmp_path / "nats")}})
    given, moved, again, found = (tmp_path / name for name in ("given", "moved", "again", "found"))
    given.write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs()))
    run(source.cli, "load", str(given))
    began = time.monotonic()
    run(source.cli, "dump", "-o", str(moved))
    run(between, "load", str(moved))
    run(between, "dump", "-o", str(again))
    run(target.cli, "load", str(again))
    assert time.monotonic() - began < WITHIN_S
    run(target.cli, "dump", "-o", str(found))
    expected, there = contents(given), contents(found)
    assert len(expected) == PAIRS
    assert there.keys() == expected.keys()
    for key, (value, ttl_ms) in expected.items():
        value_there, ttl_there_ms = there[key]
        assert value_there == value, key
        assert (ttl_there_ms is None) == (ttl_ms is None), key
        assert -TTL_TOLERANCE_MS < (ttl_there_ms or 0) - (ttl_ms or 0) < TTL_TOLERANCE_MS, key


def run(cli: CommandLine, *command: str) -> None:
    """It must manage all, and tells how fast it was; `pytest -rP` shows that."""
    done = cli("kv", *command, "--timeout", "30s")
    sys.stdout.write(done.stderr.decode())
    assert done.returncode == 0, done.stderr


def contents(file: Path) -> dict[str, tuple[bytes, int | None]]:
    """Value and ttl by key."""
    found = {}
    with file.open(encoding="utf-8") as lines:
        for pair in map(json.loads, lines):
            text = pair.get("value")
            value = b64decode(pair["value_base64"]) if text is None else text.encode()
            found[pair["key"]] = value, pair.get("ttl_ms")
    return found
