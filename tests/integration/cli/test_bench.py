from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import prism

OPERATIONS = ["get", "set", "delete", "incr"]


async def keys_under(address: str, prefix: str) -> list[str]:
    async with prism.connect(address) as client:
        return list((await client.scan(prefix)).keys)


async def until_it_counts(address: str) -> None:
    """Wait until the load runs: counters are not written while the keys are filled."""
    async with prism.connect(address) as client:
        while not any("count:" in key for key in (await client.scan("bench:")).keys):
            await asyncio.sleep(0.01)


async def test_run_prints_rates_and_percentiles_and_deletes_its_keys(cli: Any) -> None:
    cli("kv", "set", "bench:mine", "stays")
    ended = cli("bench", cli.address, "--duration", "300ms", "--keys", "1500", "--ttl", "1h")
    assert (ended.returncode, ended.stderr) == (0, b"")
    head, columns, *rows = ended.stdout.decode().splitlines()
    assert "64 callers in a closed loop, get=80,set=18,delete=1,incr=1, 1,500 keys" in head
    for column in ("calls/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "errors"):
        assert column in columns
    assert {row.split()[0] for row in rows} <= {*OPERATIONS, "all"}
    assert rows[-1].startswith("all ")
    assert await keys_under(cli.address, "") == ["bench:mine"]


def test_json_is_one_line(cli: Any) -> None:
    ended = cli(
        *("bench", cli.address, "--json", "--duration", "1s", "--keys", "10"),
        *("--mix", "get=1,set=1", "--callers", "3", "--value-size", "5", "--prefix", "p:"),
    )
    assert ended.stdout.count(b"\n") == 1
    told = json.loads(ended.stdout)
    assert (told["callers"], told["keys"], told["value_bytes"]) == (3, 10, 5)
    assert told["calls"] == sum(each["calls"] for each in told["operations"].values())
    assert set(told["operations"]) == {"get", "set"}
    latencies = [told["latency_ms"][name] for name in ("p50", "p90", "p99", "p99.9", "max")]
    assert latencies == sorted(latencies)
    assert (told["errors"], told["failed"], told["interrupted"]) == ([], 0, False)


async def test_errors_of_a_drained_server_are_listed_by_code(cli: Any) -> None:
    bench = cli.begin("bench", cli.address, "--duration", "1h", "--mix", "get=9,incr=1")
    with bench:
        await until_it_counts(cli.address)
        cli("lifecycle", "drain")
        assert cli("health").stdout == b"NOT_SERVING\n"
        bench.send_signal(signal.SIGINT)
        printed, told = bench.communicate()
    assert bench.returncode == 130
    errors = printed.decode().partition("\n\n")[2].split()
    assert errors[:4] == ["error", "code", "reason", "calls"]
    assert errors[5:7] == ["UNAVAILABLE", "NOT_SERVING"]
    # Its keys cannot be deleted any more, and it says so.
    assert b"are not all deleted: not serving" in told


async def test_ctrl_c_ends_the_run_early_and_deletes_its_keys(cli: Any) -> None:
    bench = cli.begin("bench", cli.address, "--duration", "1h")
    with bench:
        await until_it_counts(cli.address)
        bench.send_signal(signal.SIGINT)
        printed, told = bench.communicate()
    assert (bench.returncode, told) == (*(130, b"prism: interrupted: the results end there\n"),)
    assert b"\nall " in printed
    assert await keys_under(cli.address, "") == []


def test_run_without_a_success_is_status_1(cli: Any) -> None:
    cli("lifecycle", "drain")
    ended = cli("bench", cli.address, "--duration", "100ms")
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert b"not serving: draining" in ended.stderr
    nobody = cli("bench", "127.0.0.1:1")
    assert (nobody.returncode, nobody.stderr.count(b"\n")) == (1, 1)


def test_invalid_mix_is_status_2(cli: Any) -> None:
    ended = cli("bench", cli.address, "--mix", "scan=1")
    assert ended.returncode == 2
    assert b"'scan' is not an operation; the valid ones are: get, set, delete, incr" in ended.stderr


def test_invalid_address_is_status_2(cli: Any) -> None:
    ended = cli("bench", "localhost")
    assert ended.returncode == 2
    assert b"give host:port, such as localhost:9090" in ended.stderr
