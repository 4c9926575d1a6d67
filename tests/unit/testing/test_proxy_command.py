"""What the suite's third level launches, and what it refuses to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prism.adapters.memstore import DRIVER
from prism.adapters.redis import DRIVER as REDIS
from prism.ports import InvalidArgument
from prism.testing.levels import PROXY, through_proxy
from prism.testing.proxy_command import proxy_command

SECRET = {"url": "redis://:hunter2@127.0.0.1:1/0"}


def test_a_driver_that_is_not_installed_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidArgument, match=r"'absent'.*memstore.*entry point 'absent'"):
        through_proxy("absent")


def test_a_driver_is_not_mistaken_for_another_of_its_name() -> None:
    other = replace(DRIVER, version="9.9.9")
    with pytest.raises(InvalidArgument, match="installed as 'memstore' is another"):
        through_proxy(other)


@pytest.mark.parametrize(
    ("name", "text"), [("no-such-setting", "1"), ("max_keys", "many"), ("max_keys", "-1")]
)
def test_a_wrong_setting_is_refused_before_anything_is_launched(name: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=name):
        through_proxy(DRIVER, {name: text})


def test_settings_are_not_on_the_command_line_and_those_of_others_are_left_out() -> None:
    others = {"PRISM_CONFIG": "prism.yaml", "PRISM_TESTED_URL": "redis://other", "PATH": "/bin"}
    arguments, environment = proxy_command(REDIS, SECRET, PROXY, others)
    assert "hunter2" not in " ".join(arguments)
    assert environment["PRISM_TESTED_URL"] == SECRET["url"]
    assert environment["PATH"] == "/bin"
    assert "PRISM_CONFIG" not in environment


def test_a_setting_that_is_empty_is_given_as_such() -> None:
    arguments, environment = proxy_command(REDIS, {**SECRET, "password": ""}, PROXY, {})
    assert arguments[-2:] == ["--tested-password", ""]
    assert "PRISM_TESTED_PASSWORD" not in environment
