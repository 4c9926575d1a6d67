from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Shown = Callable[..., dict[str, tuple[Any, str]]]
Prism = Callable[..., Result]
Install = Callable[..., Path]


@pytest.fixture(autouse=True)
def _installed(install: Install) -> None:
    install()


def write(name: str, text: str) -> str:
    Path(name).write_text(text)
    return name


FILE = "{grpc_port: 1001, reflection: false, drivers: {fake-kv: {url: 'fake://file'}}}"


@pytest.mark.parametrize(
    ("args", "env", "file", "expected"),
    [
        ([], {}, "", ("9090", "default")),
        ([], {}, FILE, ("1001", "file c.yaml")),
        ([], {"PRISM_GRPC_PORT": "1002"}, FILE, ("1002", "environment PRISM_GRPC_PORT")),
        (["--grpc-port", "1003"], {"PRISM_GRPC_PORT": "1002"}, FILE, ("1003", "flag --grpc-port")),
        (["--grpc-port", "9090"], {}, FILE, ("9090", "flag --grpc-port")),
        ([], {"PRISM_GRPC_PORT": ""}, FILE, ("1001", "file c.yaml")),
    ],
)
def test_flags_override_environment_file_and_defaults(
    shown: Shown, args: list[str], env: dict[str, str], file: str, expected: tuple[str, str]
) -> None:
    path = write("c.yaml", file)
    assert shown("--config", path, *args, env=env)["grpc_port"] == expected


@pytest.mark.parametrize(
    ("args", "env", "file", "expected"),
    [
        ([], {}, "", ("fake://localhost", "default")),
        ([], {}, FILE, ("fake://file", "file c.yaml")),
        ([], {"PRISM_FAKE_KV_URL": "fake://e"}, FILE,
         ("fake://e", "environment PRISM_FAKE_KV_URL")),
        (["--fake-kv-url", "fake://f"], {"PRISM_FAKE_KV_URL": "fake://e"}, FILE,
         ("fake://f", "flag --fake-kv-url")),
    ],
)  # fmt: skip
def test_driver_of_another_package_has_the_same_precedence(
    shown: Shown, args: list[str], env: dict[str, str], file: str, expected: tuple[str, str]
) -> None:
    path = write("c.yaml", file)
    found = shown("--config", path, "--driver", "fake-kv", *args, env=env)
    assert found["drivers.fake-kv.url"] == expected


@pytest.mark.parametrize(
    ("args", "env", "file", "expected"),
    [
        ([], {}, "", ("true", "default")),
        ([], {}, FILE, ("false", "file c.yaml")),
        ([], {"PRISM_REFLECTION": "yes"}, FILE, ("true", "environment PRISM_REFLECTION")),
        (["--reflection"], {"PRISM_REFLECTION": "no"}, FILE, ("true", "flag --reflection")),
        (["--no-reflection"], {}, "", ("false", "flag --reflection")),
    ],
)
def test_switch_has_the_same_precedence(
    shown: Shown, args: list[str], env: dict[str, str], file: str, expected: tuple[str, str]
) -> None:
    path = write("c.yaml", file)
    assert shown("--config", path, *args, env=env)["reflection"] == expected


@pytest.mark.parametrize(
    ("args", "env", "file", "origin"),
    [
        (["--driver", "fake-kv"], {}, "driver: memstore", "flag --driver"),
        (["--driver=fake-kv"], {}, "", "flag --driver"),
        (["--driver", "memstore", "--driver", "fake-kv"], {}, "", "flag --driver"),
        ([], {"PRISM_DRIVER": "fake-kv"}, "driver: memstore", "environment PRISM_DRIVER"),
        ([], {}, "driver: fake-kv", "file c.yaml"),
    ],
)
def test_driver_can_be_chosen_by_flag_environment_and_file(
    shown: Shown, args: list[str], env: dict[str, str], file: str, origin: str
) -> None:
    path = write("c.yaml", file)
    found = shown("--config", path, *args, env=env)
    assert found["driver"] == ("fake-kv", origin)
    assert "drivers.fake-kv.url" in found
    assert not any(name.startswith("drivers.memstore") for name in found)


def test_config_yaml_in_the_folder_is_read_by_default(shown: Shown) -> None:
    write("config.yaml", "grpc_port: 1001")
    assert shown()["grpc_port"] == ("1001", "file config.yaml")


def test_named_file_replaces_config_yaml(shown: Shown) -> None:
    write("config.yaml", "grpc_port: 1001\nmetrics_port: 1002")
    write("other.yaml", "grpc_port: 1003")
    found = shown(env={"PRISM_CONFIG": "other.yaml"})
    assert found["grpc_port"] == ("1003", "file other.yaml")
    assert found["metrics_port"] == ("9091", "default")


def test_toml_is_read_like_yaml(shown: Shown) -> None:
    path = write("c.toml", 'grpc_port = 1001\n[drivers.fake-kv]\nurl = "fake://t"\ndeep = true\n')
    found = shown("--config", path, "--driver", "fake-kv")
    assert found["grpc_port"] == ("1001", "file c.toml")
    assert found["drivers.fake-kv.url"] == ("fake://t", "file c.toml")
    assert found["drivers.fake-kv.deep"] == ("true", "file c.toml")


def test_sections_of_other_drivers_are_not_checked(shown: Shown) -> None:
    path = write("c.yaml", "drivers:\n  fake-kv: {url: fake://x}\n  elsewhere: {any: thing}\n")
    assert shown("--config", path)["driver"] == ("memstore", "default")


def test_empty_config_file_leaves_the_defaults(shown: Shown) -> None:
    path = write("c.yaml", "# later\ndrivers:\n")
    assert shown("--config", path)["grpc_port"] == ("9090", "default")


def test_config_show_prints_a_line_for_each_setting(prism: Prism) -> None:
    lines = prism("config", "show", "--grpc-port", "5").stdout.splitlines()
    assert lines[0].split() == ["NAME", "VALUE", "FROM"]
    assert ["grpc_port", "5", "flag", "--grpc-port"] in [line.split() for line in lines]


def test_help_shows_only_the_options_of_the_chosen_driver(prism: Prism) -> None:
    output = prism("serve", "--driver", "fake-kv", "--help").stdout
    general, _, special = output.partition("Driver fake-kv:")
    assert "--grpc-port" in general
    assert "--fake-kv-url" in special
    assert "--fake-kv-password-file" in special
    assert "--memstore-max-keys" not in output


def test_help_does_not_show_values_of_the_config_file(prism: Prism) -> None:
    path = write(
        "c.yaml", 'admin_token: "hunter2"\ndrivers: {fake-kv: {url: "fake://u:hunter3@h"}}'
    )
    output = prism("serve", "--config", path, "--driver", "fake-kv", "--help").stdout
    assert "hunter" not in output
