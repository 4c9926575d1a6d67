"""Settings of a server that a proxy commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Prism = Callable[..., Result]
Shown = Callable[..., dict[str, tuple[Any, str]]]
Install = Callable[..., Path]

PROXY = ("--proxy-address", "unix:/run/control.sock", "--proxy-token", "the-token")

_NEEDS_SETTINGS = """
from dataclasses import dataclass
from prism.ports import DriverSpec, setting

@dataclass(frozen=True)
class Settings:
    url: str = setting(help="Where it is.")

DRIVER = DriverSpec(
    name="needy", version="1", summary="", settings=Settings, factory=object, capabilities={}
)
"""


@pytest.fixture(autouse=True)
def _installed(install: Install) -> None:
    install()


def test_pattern_picks_free_ports(shown: Shown) -> None:
    settings = shown(*PROXY)
    assert settings["grpc_port"] == ("0", "default")
    assert settings["metrics_port"] == ("0", "default")


def test_given_ports_are_used(shown: Shown) -> None:
    settings = shown(*PROXY, "--grpc-port", "1003", env={"PRISM_METRICS_PORT": "1004"})
    assert settings["grpc_port"] == ("1003", "flag --grpc-port")
    assert settings["metrics_port"] == ("1004", "environment PRISM_METRICS_PORT")


def test_without_a_proxy_the_ports_are_the_defaults(shown: Shown) -> None:
    assert shown()["grpc_port"] == ("9090", "default")


def test_proxy_token_is_a_secret(shown: Shown, tmp_path: Path) -> None:
    assert shown(*PROXY)["proxy_token"] == ("***", "flag --proxy-token")
    file = tmp_path / "token"
    file.write_text("the-token\n")
    found = shown("--proxy-address", "unix:/run/x", "--proxy-token-file", str(file))
    assert found["proxy_token"] == ("***", f"flag --proxy-token-file: {file}")


@pytest.mark.parametrize(
    ("args", "env", "file", "named"),
    [
        (
            ["--fake-kv-url", "x"],
            {},
            "",
            "drivers.fake-kv.url to the proxy, not here (flag --fake-kv-url)",
        ),
        ([], {"PRISM_FAKE_KV_URL": "x"}, "", "(environment PRISM_FAKE_KV_URL)"),
        ([], {}, "drivers: {fake-kv: {url: x}}", "(file c.yaml)"),
        (["--fake-kv-password-file", "p"], {}, "", "(flag --fake-kv-password-file)"),
    ],
)
def test_driver_setting_of_a_pattern_is_rejected(
    prism: Prism, args: list[str], env: dict[str, str], file: str, named: str
) -> None:
    Path("c.yaml").write_text(file)
    flags = ("--driver", "fake-kv", "--config", "c.yaml", *PROXY, *args)
    result = prism("config", "show", *flags, env=env)
    assert result.exit_code == 2
    assert "the proxy configures the driver: give drivers.fake-kv" in result.output
    assert named in result.output


def test_required_driver_setting_may_be_left_to_the_proxy(install: Install, shown: Shown) -> None:
    install("needy", module="needy_driver", source=_NEEDS_SETTINGS)
    assert shown("--driver", "needy", *PROXY)["drivers.needy.url"] == (None, "default")


def test_pattern_does_not_read_config_yaml(shown: Shown) -> None:
    # It is the proxy's own, as a rule.
    Path("config.yaml").write_text("patterns: {a: {}}")
    assert shown(*PROXY)["driver"] == ("memstore", "default")


def test_pattern_reads_a_named_config_file(shown: Shown) -> None:
    Path("c.yaml").write_text("debug: true")
    assert shown(*PROXY, "--config", "c.yaml")["debug"] == ("true", "file c.yaml")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--proxy-address", "nowhere", "--proxy-token", "x"], "neither host:port nor unix:PATH"),
        (["--proxy-address", "unix:/x"], "proxy_address needs proxy_token or proxy_fd"),
        (["--proxy-token", "x"], "proxy_token needs proxy_address"),
        (["--proxy-fd", "0"], "proxy_fd needs proxy_address"),
        (
            ["--proxy-address", "unix:/x", "--proxy-fd", "0", "--proxy-token", "x"],
            "proxy_fd and proxy_token exclude each other",
        ),
        (
            ["--proxy-address", "unix:/x", "--proxy-fd", "4711"],
            "proxy_fd is 4711, which is not an open file descriptor",
        ),
        (["--proxy-address", "unix:/x", "--proxy-token", "ü"], "printable ASCII"),
    ],
)
def test_invalid_proxy_setting_is_named(prism: Prism, args: list[str], expected: str) -> None:
    result = prism("config", "show", *args)
    assert result.exit_code == 2
    assert expected in result.output
