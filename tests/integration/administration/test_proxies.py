from __future__ import annotations

import json
import os
import signal
import stat
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.administration.conftest import Command, PrismAt, StartProxy
from tests.integration.conftest import Server

TIMEOUT_S = 30.0
SECRET = "correct-horse-battery"


def patterns_in(log: list[str]) -> set[int]:
    """Return the ids of the processes that the proxy launched."""
    found = set()
    for line in log:
        event = json.loads(line)
        if event.get("event") == "launched":
            found.add(int(event["message"].rpartition(" ")[2]))
    return found


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def read(address: str | None, path: str) -> str:
    with urllib.request.urlopen(f"http://{address}{path}") as reply:
        text: str = reply.read().decode()
        return text


def test_config_file_can_say_what_flags_can_say(
    start_proxy: StartProxy, prism_at: PrismAt, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(
        "default_pattern: b\n"
        "patterns:\n"
        "  a: {driver: memstore}\n"
        "  b: {driver: memstore, max_keys: 1}\n"
    )
    prism = prism_at(start_proxy("--pattern", "c=memstore").serving().address)
    assert [p["name"] for p in prism.json("patterns", "list")["patterns"]] == ["a", "b", "c"]
    prism.said("kv", "set", "one", "1")
    assert "holds 1 key" in prism("kv", "set", "two", "2").stderr
    assert prism.said("kv", "get", "one", "--pattern", "b") == "1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_proxy_and_its_processes_and_removes_the_directory(
    proxy: Server, sockets: Path, number: signal.Signals
) -> None:
    (folder,) = sockets.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    proxy.signal(number)
    assert proxy.wait() == 0
    assert len(patterns_in(proxy.lines)) == 2
    assert not any(map(is_alive, patterns_in(proxy.lines)))
    assert list(sockets.iterdir()) == []


def test_stop_by_rpc_ends_the_proxy_as_a_signal_does(proxy: Server, prism: Command) -> None:
    assert "pattern.a: serving" in prism.said("lifecycle", "status")
    prism.said("lifecycle", "stop")
    assert proxy.wait() == 0
    assert not any(map(is_alive, patterns_in(proxy.lines)))


def test_killed_pattern_is_launched_again(proxy: Server, prism: Command) -> None:
    before = prism.pattern("a")["process_id"]
    os.kill(before, signal.SIGKILL)
    proxy.wait_for("pattern a: failed: the pattern 'a' was killed by SIGKILL")
    proxy.wait_for("pattern a: serving: memstore")
    after = prism.pattern("a")
    assert after["process_id"] != before
    assert (after["state"], after["restarts"]) == ("serving", 1)
    assert prism.pattern("b")["restarts"] == 0


def test_pattern_that_cannot_start_does_not_keep_others_from_serving(
    start_proxy: StartProxy, prism_at: PrismAt
) -> None:
    proxy = start_proxy(
        *("--pattern", "a=memstore", "--pattern", "b=redis"),
        *("--b-url", f"redis://:{SECRET}@127.0.0.1:1"),
    ).serving()
    prism = prism_at(proxy.address)
    b = prism.pattern("b")
    assert b["state"] in ("backing_off", "crash_loop", "launching", "starting")
    shown = prism.said("patterns", "show", "b")
    assert "failed: Redis at 127.0.0.1:1 refuses connections" in shown
    assert prism.pattern("a")["state"] == "serving"
    status = prism.json("lifecycle", "status")
    assert status["status"] == "degraded"
    assert status["message"].startswith("1 of 2 patterns serve: b is ")
    assert json.loads(read(proxy.metrics_address, "/ready")) == {"status": "ready"}
    metrics = read(proxy.metrics_address, "/metrics")
    assert 'prism_pattern_up{pattern="a"} 1.0' in metrics
    assert 'prism_pattern_up{pattern="b"} 0.0' in metrics
    everything = proxy.log + shown + metrics + read(proxy.metrics_address, "/")
    assert SECRET not in everything


def test_the_page_shows_the_patterns(proxy: Server) -> None:
    page = read(proxy.metrics_address, "/")
    assert "Patterns" in page
    assert "Calls that name no pattern go to a" in page


def test_operations_are_counted_by_pattern_across_a_restart(proxy: Server, prism: Command) -> None:
    prism.said("kv", "set", "key", "value", "--pattern", "b")
    prism.said("patterns", "restart", "b")
    prism.said("kv", "set", "key", "value", "--pattern", "b")
    metrics = read(proxy.metrics_address, "/metrics")
    assert 'prism_pattern_requests_total{operation="set",pattern="b"} 2.0' in metrics
    assert 'prism_pattern_requests_total{operation="set",pattern="a"} 0.0' in metrics
    assert 'prism_pattern_restarts_total{pattern="b"} 1.0' in metrics


def test_two_proxies_with_the_same_patterns_are_independent(
    start_proxy: StartProxy, sockets: Path
) -> None:
    for _ in range(2):
        start_proxy("--pattern", "a=memstore").serving()
    assert len(list(sockets.iterdir())) == 2


def test_frozen_pattern_is_killed_when_the_proxy_ends(
    start_proxy: StartProxy, prism_at: PrismAt, sockets: Path
) -> None:
    proxy = start_proxy(
        *("--pattern", "a=memstore", "--pattern", "b=memstore"),
        *("--drain-timeout", "500ms", "--stop-timeout", "2s", "--terminate-after", "200ms"),
    ).serving()
    frozen = prism_at(proxy.address).pattern("a")["process_id"]
    os.kill(frozen, signal.SIGSTOP)
    proxy.signal(signal.SIGTERM)
    proxy.wait()
    assert not is_alive(frozen)
    assert not any(map(is_alive, patterns_in(proxy.lines)))
    assert list(sockets.iterdir()) == []
    assert "was killed by SIGKILL" in proxy.log


def test_patterns_end_when_the_proxy_is_killed(proxy: Server, prism: Command) -> None:
    processes = [each["process_id"] for each in prism.json("patterns", "list")["patterns"]]
    proxy.signal(signal.SIGKILL)
    proxy.wait()
    deadline = time.monotonic() + TIMEOUT_S
    while any(map(is_alive, processes)):
        assert time.monotonic() < deadline, "a pattern outlives its proxy"
        time.sleep(0.05)
