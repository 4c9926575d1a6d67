from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Prism = Callable[..., Result]
ShownProxy = Callable[..., dict[str, tuple[Any, str]]]

A = ("--pattern", "a=fake-kv")


@pytest.fixture(autouse=True)
def _installed(install: Callable[..., Path]) -> None:
    install()


@pytest.fixture
def shown_proxy(prism: Prism) -> ShownProxy:
    """Run `prism config show-proxy --json`; return value and source by name."""

    def run(*args: str, env: dict[str, str] | None = None) -> dict[str, tuple[Any, str]]:
        result = prism("config", "show-proxy", "--json", *args, env=env)
        assert result.exit_code == 0, result.output
        settings = json.loads(result.stdout)["settings"]
        return {s["name"]: (s["value"], s["origin"]) for s in settings}

    return run


def refusal(result: Result) -> str:
    """Start a proxy that must fail with status 2; return its stderr."""
    assert result.exit_code == 2, result.output
    line: str = result.output.strip().splitlines()[-1]
    return line


FILE = "patterns: {a: {driver: fake-kv, url: 'fake://file'}}"


@pytest.mark.parametrize(
    ("args", "env", "file", "expected"),
    [
        (A, {}, "", ("fake://localhost", "default")),
        ((), {}, FILE, ("fake://file", "file c.yaml")),
        ((), {"PRISM_A_URL": "fake://e"}, FILE, ("fake://e", "environment PRISM_A_URL")),
        (("--a-url", "fake://f"), {"PRISM_A_URL": "fake://e"}, FILE, ("fake://f", "flag --a-url")),
    ],
)
def test_pattern_is_configured_under_its_name(
    shown_proxy: ShownProxy,
    args: tuple[str, ...],
    env: dict[str, str],
    file: str,
    expected: tuple[str, str],
) -> None:
    Path("c.yaml").write_text(file)
    assert shown_proxy("--config", "c.yaml", *args, env=env)["patterns.a.url"] == expected


def test_two_patterns_of_one_driver_have_separate_settings(shown_proxy: ShownProxy) -> None:
    shown = shown_proxy(*A, "--pattern", "b=fake-kv", "--b-mode", "fast")
    assert shown["patterns.a.mode"] == ("safe", "default")
    assert shown["patterns.b.mode"] == ("fast", "flag --b-mode")


def test_patterns_come_from_file_environment_and_flags(shown_proxy: ShownProxy) -> None:
    Path("config.yaml").write_text("patterns: {a: {driver: fake-kv}, b: {driver: fake-kv}}")
    shown = shown_proxy("--pattern", "d=memstore", env={"PRISM_PATTERNS": "b=memstore,c=memstore"})
    drivers = {name: each for name, each in shown.items() if name.endswith(".driver")}
    assert drivers == {
        "patterns.a.driver": ("fake-kv", "file config.yaml"),
        "patterns.b.driver": ("memstore", "environment PRISM_PATTERNS"),
        "patterns.c.driver": ("memstore", "environment PRISM_PATTERNS"),
        "patterns.d.driver": ("memstore", "flag --pattern"),
    }


def test_secrets_of_a_pattern_are_read_from_files_and_masked(shown_proxy: ShownProxy) -> None:
    Path("secret").write_text("hunter2-and-more\n")
    shown = shown_proxy(*A, "--a-password-file", "secret")
    assert shown["patterns.a.password"] == ("***", "flag --a-password-file: secret")


def test_help_shows_the_options_of_each_pattern_under_a_heading(prism: Prism) -> None:
    text = prism("proxy", *A, "--pattern", "cache=memstore", "--help").output
    assert "\nPattern a (driver fake-kv):\n  --a-url TEXT" in text
    assert "\nPattern cache (driver memstore):\n  --cache-max-keys" in text
    assert "--default-pattern TEXT" in text
    assert "--driver" not in text


def test_help_needs_no_pattern(prism: Prism) -> None:
    result = prism("proxy", "--help")
    assert result.exit_code == 0
    assert "--pattern NAME=DRIVER" in result.output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "a proxy needs a pattern: give --pattern NAME=DRIVER, such as"),
        (("--pattern", "a"), "'a' is not NAME=DRIVER"),
        (("--pattern", "=redis"), "'=redis' is not NAME=DRIVER"),
        (
            ("--pattern", "A=memstore"),
            "'A' is not a valid name of a pattern: it must begin with a lower case",
        ),
        (("--pattern", "a_b=memstore"), "'a_b' is not a valid name of a pattern"),
        (("--pattern", f"{'a' * 41}=memstore"), "has 41 characters; the maximum is 40"),
        (
            ("--pattern", "a=memstor"),
            "the pattern 'a': unknown driver 'memstor'; the installed ones are: ",
        ),
        ((*A, *A), "the pattern 'a' is given twice (flag --pattern)"),
        ((*A, "--default-pattern", "b"), "default_pattern is 'b', which is not a pattern"),
        ((*A, "--a-mode", "slow"), "mode is 'slow'; it must be one of fast, safe"),
        ((*A, "--a-patience", "2h"), "the pattern 'a': patience is more than an hour"),
        ((*A, "--a-nope", "1"), "No such option: --a-nope"),
        ((*A, "--start-timeout", "0s"), "start_timeout must be above zero"),
        ((*A, "--start-timeout", "1m"), "start_timeout must be at most 25 s"),
    ],
)
def test_invalid_pattern_is_rejected_before_anything_starts(
    prism: Prism, args: tuple[str, ...], says: str
) -> None:
    assert says in refusal(prism("proxy", *args))


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        (("default=redis",), "--default-timeout is a flag of the proxy; choose another name"),
        (("tls=nats", "tls-tls=nats"), ""),
        (("a=fake-two", "a-b=fake-two"), "--a-b-url is a flag of the pattern 'a'"),
        (("no=fake-two",), "--no-metrics is a flag of the proxy"),
    ],
)
def test_name_whose_flags_are_taken_is_rejected(
    prism: Prism, install: Callable[..., Path], patterns: tuple[str, ...], says: str
) -> None:
    install(
        "fake-two",
        module="fake_two_driver",
        source=(
            "from dataclasses import dataclass\n"
            "from prism.ports import DriverSpec, setting\n"
            "@dataclass(frozen=True)\n"
            "class Settings:\n"
            "    b_url: str = setting('', help='.')\n"
            "    url: str = setting('', help='.')\n"
            "    metrics: str = setting('', help='.')\n"
            "DRIVER = DriverSpec('fake-two', '1', '.', Settings, object, {})\n"
        ),
    )
    result = prism("config", "show-proxy", *(f"--pattern={each}" for each in patterns))
    if says:
        assert says in refusal(result)
    else:
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("patterns: [a]", "'patterns' must be a mapping of patterns to settings"),
        ("patterns: {a: {url: x}}", "patterns.a names no driver: add driver"),
        ("patterns: {a: memstore}", "patterns.a names no driver: add driver"),
        (
            "patterns: {a: {driver: fake-kv, ulr: x}}",
            "unknown key patterns.a.ulr; the valid ones are: url",
        ),
        ("patterns: {B: {driver: fake-kv}}", "'B' is not a valid name of a pattern"),
        (
            "{driver: redis, patterns: {a: {driver: fake-kv}}}",
            "unknown key driver; the valid ones are: ",
        ),
    ],
)
def test_invalid_patterns_in_the_config_file_are_named_with_their_place(
    prism: Prism, text: str, says: str
) -> None:
    Path("config.yaml").write_text(text)
    assert says in refusal(prism("proxy"))


def test_server_has_no_options_of_a_proxy(prism: Prism) -> None:
    assert "--pattern-wait" not in prism("serve", "--help").output
