"""Secrets and control characters in texts of drivers, which must not reach people."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.integration.administration.conftest import PrismAt, StartProxy
from tests.integration.conftest import Server

TIMEOUT_S = 30.0
SECRET = "sw0rdfish-and-chips"


@pytest.fixture
def leaking(start_proxy: StartProxy) -> Server:
    """Proxy with `l`, which cannot log in, and `h`, which is degraded; both quote passwords."""
    return start_proxy(
        *("--pattern", "b=memstore", "--pattern", "l=leaking", "--pattern", "h=leaking"),
        *("--l-password", SECRET, "--no-l-reachable", "--h-password", SECRET),
        *("--health-interval", "100ms"),
    ).serving()


def test_secret_that_a_driver_quotes_is_redacted_everywhere(
    leaking: Server, prism_at: PrismAt
) -> None:
    prism = prism_at(leaking.address)
    until(lambda: (prism.pattern("h")["health"] or {}).get("status") == "degraded")
    answers = {}

    def refused_for_a_reason() -> bool:
        # Between two attempts it is launching, and has no reason.
        answers["kv get l"] = prism("kv", "get", "key", "--pattern", "l").stderr
        return "cannot log in" in answers["kv get l"]

    until(refused_for_a_reason)
    commands = (
        ("kv", "get", "key", "--pattern", "h"),
        ("patterns", "restart", "l"),
        ("patterns", "replace", "h", "--option", "reachable=false", "--discard-data"),
        ("patterns", "list"),
        ("patterns", "show", "l"),
        ("patterns", "show", "h"),
        ("patterns", "show", "l", "--json"),
        ("patterns", "show", "h", "--json"),
        ("patterns", "events"),
        ("lifecycle", "status"),
        ("lifecycle", "status", "--json"),
    )
    for command in commands:
        ended = prism(*command)
        answers[" ".join(command)] = ended.stdout + ended.stderr
    pages = dict(every_page(leaking.metrics_address))
    own = prism.json("patterns", "show", "h")["metrics_address"]
    pages |= {f"{own}{path}": text for path, text in every_page(own)}
    leaking.stop()
    # The redacted texts were there.
    assert "cannot log in with ***" in answers["kv get l"]
    assert "AUTH *** was refused" in answers["kv get key --pattern h"]
    assert "last_error" in answers["patterns show h"]
    assert "AUTH ***" in answers["lifecycle status"]
    told = {**answers, **pages, "the log": leaking.log}
    assert [place for place, text in told.items() if SECRET in text] == []


def test_server_without_a_proxy_redacts_secrets_too(
    start_server: Callable[..., Server], prism_at: PrismAt
) -> None:
    server = start_server("--driver", "leaking", "--leaking-password", SECRET).serving()
    prism = prism_at(server.address)
    status = prism.said("lifecycle", "status")
    assert "AUTH *** was refused" in status
    ended = prism("kv", "get", "key")
    assert "AUTH *** was refused" in ended.stderr
    pages = dict(every_page(server.metrics_address))
    server.stop()
    told = {**pages, "status": status, "get": ended.stderr, "the log": server.log}
    assert [place for place, text in told.items() if SECRET in text] == []


def test_control_characters_and_invalid_text_in_the_last_output_are_escaped(
    start_proxy: StartProxy, prism_at: PrismAt
) -> None:
    proxy = start_proxy("--pattern", "b=memstore", "--pattern", "u=unreadable").serving()
    prism = prism_at(proxy.address)
    until(lambda: prism.pattern("u")["restarts"] >= 1)
    shown = prism.said("patterns", "show", "u")
    said = [shown, prism.said("patterns", "list"), prism.said("patterns", "events")]
    said += [prism.said("lifecycle", "status"), prism("kv", "get", "k", "--pattern", "u").stderr]
    assert "caf" in shown
    assert r"\x1b[2J\nready" in shown
    for text in said:
        assert "\x1b" not in text
        assert not any(line.startswith("ready") for line in text.splitlines())
    assert dict(every_page(proxy.metrics_address))["/"].count("caf")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not become so"
        time.sleep(0.05)


def every_page(address: str | None) -> Iterator[tuple[str, str]]:
    for path in ("/", "/health", "/ready", "/metrics"):
        try:
            with urllib.request.urlopen(f"http://{address}{path}") as reply:
                yield path, reply.read().decode()
        except urllib.error.HTTPError as refused:
            yield path, refused.read().decode()
