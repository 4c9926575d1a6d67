from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Prism = Callable[..., Result]


def test_value_is_printed_byte_for_byte(prism: Prism) -> None:
    value = b"\x00\xff line\r\n"
    assert prism("kv", "set", "k", stdin=value).exit_code == 0
    got = prism("kv", "get", "k")
    assert (got.exit_code, got.stdout_bytes) == (0, value)


@pytest.mark.parametrize("arguments", [["value"], ["-"], [], ["--file", "FILE"]])
def test_value_is_read_from_argument_stdin_and_file(
    prism: Prism, arguments: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "value"
    file.write_bytes(b"value")
    given = [str(file) if argument == "FILE" else argument for argument in arguments]
    assert prism("kv", "set", "k", *given, stdin=b"value").stdout_bytes == b""
    assert prism("kv", "get", "k").stdout_bytes == b"value"


def test_binary_argument_is_stored_as_its_bytes(prism: Prism) -> None:
    assert prism("kv", "set", "k", os.fsdecode(b"\xff\xfe")).exit_code == 0
    assert prism("kv", "get", "k").stdout_bytes == b"\xff\xfe"
    assert json.loads(prism("kv", "get", "k", "--json").stdout)["value_base64"] == "//4="


@pytest.mark.parametrize(
    "arguments",
    ["get no", "delete no", "del no", "exists no", "ttl no", "expire no 1s", "persist no"],
)
@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_absent_key_is_status_3(prism: Prism, arguments: str, json_flag: list[str]) -> None:
    result = prism("kv", *arguments.split(), *json_flag)
    assert result.exit_code == 3
    if json_flag:
        assert result.stderr == ""
        assert False in json.loads(result.stdout).values()
    elif arguments == "exists no":
        assert result.stdout == "false\n"
    else:
        assert (result.stdout, result.stderr) == ("", "prism: there is no key 'no'\n")


def test_version_conflict_is_status_4(prism: Prism) -> None:
    version = json.loads(prism("kv", "set", "k", "1", "--json").stdout)["version"]
    assert prism("kv", "set", "k", "2", "--if-absent").exit_code == 4
    assert prism("kv", "set", "k", "2", "--if-version", version).exit_code == 0
    assert prism("kv", "set", "k", "3", "--if-version", version).exit_code == 4
    assert prism("kv", "delete", "k", "--if-version", version).exit_code == 4
    version = json.loads(prism("kv", "get", "k", "--json").stdout)["version"]
    assert prism("kv", "delete", "k", "--if-version", version).exit_code == 0
    assert prism("kv", "put", "k", "4", "--if-absent").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["set", "k", "v", "--if-absent", "--if-version", "1"], "--if-version"),
        (["set", "k", "v", "--if-version", "-1"], "--if-version"),
        (["set", "k", "v", "--if-version", str(1 << 64)], "--if-version"),
        (["set", "k", "v", "--file", "f"], "--file"),
        (["set", "k", "v", "--ttl", "0s"], "--ttl"),
        (["set", "k", "v", "--ttl", "5"], "1500ms"),
        (["set", "k", "v", "--ttl", "101000d"], "100 years"),
        (["expire", "k", "soon"], "1500ms"),
        (["incr", "k", "--by", str(1 << 63)], "--by"),
        (["scan", "--limit", "0"], "--limit"),
        (["get", ""], "the key is empty"),
        (["get", "k" * 1025], "1,025"),
        (["get", "\udcff"], "lone surrogate U+DCFF"),
        (["get", "k", "--address", "nowhere"], "give host:port, such as nowhere:9090"),
        (["get", "k", "--address", "http://host:9090/"], "such as host:9090"),
        (["get", "k", "--address", "https://host"], "such as host:9090, with --tls or --tls-ca"),
        (["get", "k", "--address", "unix:"], "unix:/run/prism.sock"),
        (["dump", "-o", "no-such-folder/file"], "does not exist: create it"),
        (["get", "k", "--address", "host:0"], "with a port from 1 to 65535, nor unix:PATH"),
        (["get", "k", "--timeout", "0s"], "--timeout"),
        (["get", "k", "--tls-cert", "c.pem"], "--tls-key"),
        (["get", "k", "--nope"], "--nope"),
        (["gte", "k"], "'get'"),
    ],
)
def test_wrong_usage_is_status_2_and_named(prism: Prism, arguments: list[str], named: str) -> None:
    result = prism("kv", *arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert "Value error" not in result.stderr


def seconds(shown: str) -> float:
    """Returns the number in a time shown as `89.123s`."""
    return float(shown.removesuffix("s\n"))


def test_ttl_is_shown_set_and_removed(prism: Prism) -> None:
    prism("kv", "set", "k", "v", "--ttl", "1h")
    assert 3_590 < seconds(prism("kv", "ttl", "k").stdout) <= 3_600
    assert 3_590_000 < json.loads(prism("kv", "ttl", "k", "--json").stdout)["ttl_ms"] <= 3_600_000
    assert json.loads(prism("kv", "persist", "k", "--json").stdout)["had_ttl"] is True
    assert prism("kv", "ttl", "k").stdout == "none\n"
    assert prism("kv", "expire", "k", "90s").exit_code == 0
    assert 80 < seconds(prism("kv", "ttl", "k").stdout) <= 90


def test_counter_is_incremented(prism: Prism) -> None:
    assert prism("kv", "incr", "n").stdout == "1\n"
    assert prism("kv", "incr", "n", "--by", "-5").stdout == "-4\n"
    assert json.loads(prism("kv", "incr", "n", "--json").stdout)["value"] == -3


def test_refused_operation_is_one_line_and_status_1(prism: Prism) -> None:
    prism("kv", "set", "word", "hello")
    result = prism("kv", "incr", "word")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("prism: ")
    assert result.stderr.count("\n") == 1


def test_scan_lists_the_keys_with_a_prefix(prism: Prism) -> None:
    for key in [f"a/{number:02}" for number in range(20)] + ["b"]:
        prism("kv", "set", key, "v")
    assert len(prism("kv", "scan").stdout.splitlines()) == 21
    assert len(prism("kv", "scan", "a/").stdout.splitlines()) == 20
    assert len(prism("kv", "scan", "a/", "--limit", "9").stdout.splitlines()) == 9
    assert prism("kv", "scan", "b", "--values").stdout == "b\tv\n"
    assert prism("kv", "scan", "b", "-0").stdout_bytes == b"b\0"


def test_scan_in_json_handles_newlines_in_keys(prism: Prism) -> None:
    prism("kv", "set", "two\nlines", "v")
    result = prism("kv", "scan", "--json", "--values")
    [found] = map(json.loads, result.stdout.splitlines())
    assert (found["key"], found["value"], found["ttl_ms"]) == ("two\nlines", "v", None)


def test_dump_prints_what_was_loaded(prism: Prism, tmp_path: Path) -> None:
    pairs = "".join(f'{{"key":"k{number:04}","value":"é{number}"}}\n' for number in range(500))
    loaded = prism("kv", "load", "-", stdin=pairs.encode())
    assert loaded.exit_code == 0
    assert loaded.stderr.startswith("prism: loaded 500, refused 0 in ")
    dumped = prism("kv", "dump")
    assert dumped.stdout == pairs
    assert dumped.stderr.startswith("prism: dumped 500 in ")
    target = tmp_path / "out.jsonl"
    target.write_text("before")
    result = prism("kv", "dump", "-o", str(target), "--prefix", "k000", "--json")
    assert json.loads(result.stdout)["dumped"] == 10
    assert target.read_text() == "".join(pairs.splitlines(keepends=True)[:10])
    assert list(tmp_path.iterdir()) == [target]


def test_load_with_a_refused_line_is_status_1(prism: Prism, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"key":"a","value":"1"}\nnope\n{"key":"b","value":"2"}\n')
    result = prism("kv", "load", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["loaded"] == 2
    assert "prism: line 2: not JSON" in result.stderr


def test_missing_file_is_one_line_and_status_1(prism: Prism, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    for arguments in (["load", missing], ["set", "k", "--file", missing]):
        result = prism("kv", *arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "No such file" in result.stderr


def test_aliases_work_and_are_hidden(prism: Prism) -> None:
    assert prism("kv", "put", "k", "v").exit_code == 0
    assert prism("kv", "del", "k").exit_code == 0
    listed = prism("kv", "--help").stdout
    assert "  delete " in listed
    assert "  del " not in listed


def test_version_is_shown(prism: Prism) -> None:
    assert prism("--version").stdout.startswith("prism ")


def test_address_is_read_from_the_environment(
    prism: Prism, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRISM_ADDRESS", "nowhere")
    result = prism("kv", "get", "k")
    assert result.exit_code == 2
    assert "PRISM_ADDRESS" in result.stderr
