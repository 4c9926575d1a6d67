"""`prism kv watch` as a script uses it."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any


def begin(cli: Any, *arguments: str) -> subprocess.Popen[bytes]:
    process: subprocess.Popen[bytes] = cli.begin("kv", "watch", *arguments)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"prism: watching ")
    return process


def test_events_are_lines_and_count_ends_the_watch(cli: Any) -> None:
    with begin(cli, "user/", "--count", "3") as watch:
        for command in (
            ["set", "user/1", "a"],
            ["set", "other", "b"],
            ["set", "user/2", "c"],
            ["delete", "user/1"],
        ):
            assert cli("kv", *command).returncode == 0
        output, errors = watch.communicate(timeout=30)
    assert output == b"put\tuser/1\nput\tuser/2\ndelete\tuser/1\n"
    assert errors == b""
    assert watch.returncode == 0


def test_value_follows_a_tab(cli: Any) -> None:
    with begin(cli, "k", "--count", "1", "--values") as watch:
        cli("kv", "set", "k", "a value")
        assert watch.communicate(timeout=30)[0] == b"put\tk\ta value\n"


def test_json_has_all_fields_of_an_event(cli: Any) -> None:
    with begin(cli, "--json", "--count", "3") as watch:
        cli("kv", "set", "text", "hello")
        cli("kv", "set", "bytes", stdin=b"\xff")
        cli("kv", "delete", "text")
        output, _ = watch.communicate(timeout=30)
    put, binary, delete = map(json.loads, output.splitlines())
    assert int(put.pop("version")) > 0
    assert put == {"event": "put", "key": "text", "value": "hello"}
    assert binary["value_base64"] == "/w=="
    assert delete == {"event": "delete", "key": "text"}


def test_event_is_written_at_once_and_ctrl_c_ends_the_watch(cli: Any) -> None:
    with begin(cli, "k") as watch:
        assert watch.stdout is not None
        cli("kv", "set", "k", "1")
        assert watch.stdout.readline() == b"put\tk\n"
        watch.send_signal(signal.SIGINT)
        assert watch.communicate(timeout=30) == (b"", b"prism: interrupted\n")
    assert watch.returncode == 130


def test_draining_server_ends_the_watch_with_status_5(cli: Any) -> None:
    with begin(cli, "k") as watch:
        assert cli("lifecycle", "drain").returncode == 0
        output, errors = watch.communicate(timeout=30)
    assert (output, watch.returncode) == (b"", 5)
    assert errors == (
        b"prism: the watch ended (not serving: draining): start a new watch and re-read the keys\n"
    )
