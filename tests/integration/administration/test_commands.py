from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.administration.conftest import Command, Ended, PrismAt, StartProxy
from tests.integration.conftest import Server


def refused(ended: Ended) -> str:
    """Return the only line on stderr of a failed command."""
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    line: str = ended.stderr
    assert line.startswith("prism: ")
    assert line.count("\n") == 1, line
    return line


def test_list_prints_a_row_for_each_pattern(looking: Command) -> None:
    head, first, second, default = looking.said("patterns", "list").splitlines()
    assert head.split()[:4] == ["NAME", "DRIVER", "STATE", "HEALTH"]
    assert re.fullmatch(r"a +memstore +serving +(healthy|-) +\d+ +\d+ s +0 +0", first)
    assert second.startswith("b  ")
    assert default == "calls that name no pattern go to a"


def test_list_as_json_has_state_process_and_address(looking: Command) -> None:
    a, b = looking.json("patterns", "list")["patterns"]
    assert (a["name"], b["name"]) == ("a", "b")
    assert (a["driver"], a["state"], a["restarts"]) == ("memstore", "serving", 0)
    assert (a["is_default"], b["is_default"]) == (True, False)
    assert a["process_id"] != b["process_id"]
    assert a["data_address"].startswith("unix:")


def test_show_prints_events_and_debug_events(looking: Command) -> None:
    shown = looking.json("patterns", "show", "b")
    kinds = [event["kind"] for event in shown["events"]]
    assert kinds == ["launched", "registered", "initialized", "started", "serving"]
    assert {"state", "log"} <= {event["kind"] for event in shown["debug_events"]}
    text = looking.said("patterns", "show", "b")
    assert text.startswith("b is serving\n")
    assert "\nevents:\n" in text
    assert "\ndebug events:\n" in text


def test_restart_launches_another_process(prism: Command) -> None:
    before = prism.pattern("a")
    said = prism.said("patterns", "restart", "a")
    after = prism.pattern("a")
    assert said == f"restarted: a is serving, process {after['process_id']}\n"
    assert after["process_id"] != before["process_id"]
    assert after["restarts"] == 1
    assert prism.pattern("b")["restarts"] == 0


def test_drained_pattern_refuses_until_a_restart(prism: Command) -> None:
    assert prism.said("patterns", "drain", "a") == "drained: 0 completed, 0 aborted\n"
    assert prism.pattern("a")["state"] == "draining"
    assert "the pattern 'a' is draining" in refused(prism("kv", "get", "key", "--pattern", "a"))
    assert prism("kv", "get", "key", "--pattern", "b").returncode == 3
    prism.said("patterns", "restart", "a")
    assert prism("kv", "get", "key", "--pattern", "a").returncode == 3


def test_replacing_a_memstore_needs_discard_data(prism: Command) -> None:
    prism.said("kv", "set", "key", "value")
    before = prism.pattern("a")
    line = refused(prism("patterns", "replace", "a", "--option", "max-keys=10"))
    assert "was not replaced, and is unchanged" in line
    assert "memstore keeps its data in its own process" in line
    assert "--discard-data" in line
    assert prism.pattern("a")["process_id"] == before["process_id"]
    assert prism.said("kv", "get", "key") == "value"

    prism.said("patterns", "replace", "a", "--option", "max-keys=10", "--discard-data")
    after = prism.json("patterns", "show", "a")
    assert after["process_id"] != before["process_id"]
    assert after["events"][-1]["kind"] == "exited"
    assert prism("kv", "get", "key").returncode == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "c"], "there is no pattern 'c'; the patterns are: a, b"),
        (["restart", "c"], "there is no pattern 'c'; the patterns are: a, b"),
        (["replace", "a", "--driver", "nope"], "unknown driver 'nope'; the installed ones are: "),
        (["replace", "a", "--option", "max_keys=x"], "max_keys is 'x'; it must be a whole number"),
        (
            ["replace", "a", "--option", "keys=1"],
            "unknown setting 'keys'; the valid ones are: max_keys",
        ),
    ],
)
def test_mistake_is_one_clear_line_and_changes_nothing(
    looking: Command, arguments: list[str], says: str
) -> None:
    before = looking.pattern("a")["process_id"]
    assert says in refused(looking("patterns", *arguments))
    assert looking.pattern("a")["process_id"] == before


def test_malformed_setting_is_a_usage_error_that_does_not_quote_it(looking: Command) -> None:
    ended = looking("patterns", "replace", "a", "--option", "hunter2")
    assert ended.returncode == 2
    assert "--option is not KEY=VALUE" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_events_follow_prints_new_events(prism: Command) -> None:
    following = prism.begin("patterns", "events", "b", "--follow", "--json")
    assert following.stdout is not None
    try:
        seen = []
        for line in following.stdout:
            seen.append(json.loads(line)["kind"])
            if seen[-1] == "serving" and len(seen) == 5:
                os.kill(prism.pattern("b")["process_id"], signal.SIGKILL)
            elif seen[-1] == "serving":
                break
        assert seen[:5] == ["launched", "registered", "initialized", "started", "serving"]
        assert {"failed", "exited", "backing_off"} <= set(seen[5:])
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 130
        following.stdout.close()
    assert {event.split("  ")[1] for event in prism.said("patterns", "events").splitlines()} == {
        *("a", "b")
    }


def test_commands_are_unsupported_by_a_server_without_patterns(
    start_server: Callable[..., Server], prism_at: PrismAt
) -> None:
    server = start_server().serving()
    assert "is not a proxy" in refused(prism_at(server.address)("patterns", "list"))


def test_commands_need_the_admin_token_of_the_proxy(
    start_proxy: StartProxy, prism_at: PrismAt, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("let-me-in\n")
    proxy = start_proxy(
        *("--pattern", "a=memstore", "--admin-token-file", str(tmp_path / "token"))
    ).serving()
    prism = prism_at(proxy.address)
    assert "needs the admin token" in refused(prism("patterns", "list"))
    assert "needs the admin token" in refused(prism("patterns", "events", "--follow"))
    shown = prism.said("patterns", "list", "--admin-token-file", str(tmp_path / "token"))
    assert "serving" in shown
    assert "let-me-in" not in proxy.log
