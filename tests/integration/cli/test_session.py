from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_first_session(cli: Any) -> None:
    assert cli("health").stdout == b"SERVING\n"
    assert cli("kv", "set", "greeting", "hello").returncode == 0
    assert cli("kv", "get", "greeting").stdout == b"hello"
    assert cli("kv", "scan", "gree").stdout == b"greeting\n"
    assert cli("kv", "delete", "greeting").returncode == 0
    assert cli("kv", "get", "greeting").returncode == 3


def test_value_of_any_bytes_is_printed(cli: Any) -> None:
    value = bytes(range(256)) * 4096
    assert cli("kv", "set", "binary", stdin=value).returncode == 0
    assert cli("kv", "get", "binary").stdout == value


def test_value_over_the_limit_is_refused_in_one_line(cli: Any) -> None:
    ended = cli("kv", "set", "large", stdin=bytes((1 << 20) + 1))
    assert ended.returncode == 1
    assert b"1,048,576" in ended.stderr
    assert ended.stderr.count(b"\n") == 1
    assert cli("kv", "exists", "large").returncode == 3


def test_version_of_get_is_accepted_by_set(cli: Any) -> None:
    cli("kv", "set", "cas", "1")
    version = json.loads(cli("kv", "get", "cas", "--json").stdout)["version"]
    assert cli("kv", "set", "cas", "2", "--if-version", version).returncode == 0
    assert cli("kv", "set", "cas", "3", "--if-version", version).returncode == 4


def test_unreachable_server_is_one_line_and_status_1(cli: Any) -> None:
    for command in (["kv", "get", "k"], ["health"], ["lifecycle", "status"]):
        ended = cli(*command, "--address", "127.0.0.1:1")
        assert (ended.returncode, ended.stdout) == (1, b"")
        assert ended.stderr.startswith(b"prism: no Prism server answers at 127.0.0.1:1: ")
        assert ended.stderr.count(b"\n") == 1


def test_closed_pipe_is_status_141(cli: Any) -> None:
    pairs = "".join(f'{{"key":"many/{number}","value":""}}\n' for number in range(20_000))
    cli("kv", "load", "-", stdin=pairs.encode())
    for command in (["scan", "many/"], ["dump", "--prefix", "many/"]):
        process = cli.begin("kv", *command, stdin=subprocess.DEVNULL)
        with process:
            assert b"many/" in process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


def test_unix_socket_is_an_address(
    start_server: Callable[..., Any], cli_at: Callable[[str], Any], tmp_path: Path
) -> None:
    cli = cli_at(start_server("--grpc-socket", str(tmp_path / "prism.sock")).serving().address)
    assert cli.address.startswith("unix:")
    assert cli("kv", "incr", "n").stdout == b"1\n"
    assert cli("health", "--json").stdout == b'{"status":"SERVING"}\n'


def test_tls_with_a_given_authority(
    start_server: Callable[..., Any],
    cli_at: Callable[[str], Any],
    certificate: tuple[Path, Path],
) -> None:
    cert, key = map(str, certificate)
    cli = cli_at(start_server("--tls-cert", cert, "--tls-key", key).serving().address)
    assert cli("kv", "incr", "n", "--tls-ca", cert).stdout == b"1\n"
    assert cli("health", "--tls-ca", cert).returncode == 0
    assert cli("kv", "incr", "n", "--timeout", "1s").returncode == 1


def test_operator_drains_and_stops_a_server(server: Any, cli: Any) -> None:
    cli("kv", "set", "k", "v")
    status = cli("lifecycle", "status")
    assert status.stdout.startswith(b"running, healthy: ")
    assert b"  keys: 1\n" in status.stdout
    drained = json.loads(cli("lifecycle", "drain", "--json").stdout)
    assert drained == {"completed": 0, "aborted": 0}
    health = cli("health")
    assert (health.returncode, health.stdout) == (1, b"NOT_SERVING\n")
    refused = cli("kv", "set", "k", "v")
    assert refused.returncode == 1
    assert b"may or may not" not in refused.stderr
    status = json.loads(cli("lifecycle", "status", "--json").stdout)
    assert status["state"] == "draining"
    assert cli("lifecycle", "stop", "--timeout", "2s").returncode == 0
    assert server.wait() == 0


def test_output_that_is_cut_short_is_a_failure(cli: Any, tmp_path: Path) -> None:
    assert cli("kv", "set", "big", stdin=b"x" * 1_000_000).returncode == 0
    out = tmp_path / "out"
    program = "import sys; from prism.cli import main; main()"
    ended = subprocess.run(
        # Unbuffered, a stream takes a part only, and says so by a number.
        [
            *("sh", "-c", f'ulimit -f 100; exec "$@" > {out}', "sh", "env", "PYTHONUNBUFFERED=1"),
            *(sys.executable, "-c", program, "kv", "get", "big", "--address", cli.address),
        ],
        capture_output=True,
        check=False,
    )
    assert out.stat().st_size < 1_000_000
    assert ended.returncode == 1
    assert b"File too large" in ended.stderr


def test_patterns_of_a_server_without_patterns_are_refused_in_words(cli: Any) -> None:
    done = cli("patterns", "list")
    assert (done.returncode, done.stderr) == (
        1,
        b"prism: this server is not a proxy: it has no patterns\n",
    )


def test_pattern_is_rejected_by_a_server_without_patterns(cli: Any, monkeypatch: Any) -> None:
    by_flag = cli("kv", "get", "k", "--pattern", "a")
    monkeypatch.setenv("PRISM_PATTERN", "a")
    for refused in (by_flag, cli("kv", "set", "k", "v"), cli("bench", cli.address)):
        assert refused.returncode == 1
        no_pattern = b"prism: there is no pattern 'a': this server has no patterns"
        assert refused.stderr.rstrip().removesuffix(b"; it was not applied") == no_pattern
    assert cli("health").stdout == b"SERVING\n"
