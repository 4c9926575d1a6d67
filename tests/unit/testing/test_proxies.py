"""Command of the proxy at level 3, and what is refused before a proxy starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prism.adapters.memstore import DRIVER
from prism.adapters.redis import DRIVER as REDIS
from prism.ports import InvalidArgument
from prism.testing.levels import PROXY, through_proxy
from prism.testing.proxies import proxy_command

SECRET = {"url": "redis://:hunter2@127.0.0.1:1/0"}


def test_a_driver_that_is_not_installed_is_refused_with_instructions() -> None:
    with pytest.raises(InvalidArgument, match=r"'absent'.*memstore.*entry point 'absent'"):
        through_proxy("absent")


def test_a_different_driver_of_the_same_name_is_refused() -> None:
    other = replace(DRIVER, version="9.9.9")
    with pytest.raises(InvalidArgument, match="a different driver is installed as 'memstore'"):
        through_proxy(other)


@pytest.mark.parametrize(
    ("name", "text"), [("no-such-setting", "1"), ("max_keys", "many"), ("max_keys", "-1")]
)
def test_a_wrong_setting_is_refused_before_a_proxy_starts(name: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        through_proxy(DRIVER, {name: text})


def test_settings_are_passed_by_environment_without_other_prism_variables() -> None:
    others = {"PRISM_CONFIG": "prism.yaml", "PRISM_TESTED_URL": "redis://other", "PATH": "/bin"}
    arguments, environment = proxy_command(REDIS, SECRET, PROXY, others)
    assert "hunter2" not in " ".join(arguments)
    assert environment["PRISM_TESTED_URL"] == SECRET["url"]
    assert environment["PATH"] == "/bin"
    assert "PRISM_CONFIG" not in environment


def test_an_empty_setting_is_passed_as_a_flag() -> None:
    arguments, environment = proxy_command(REDIS, {**SECRET, "password": ""}, PROXY, {})
    assert arguments[-2:] == ["--tested-password", ""]
    assert "PRISM_TESTED_PASSWORD" not in environment
