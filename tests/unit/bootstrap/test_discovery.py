from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from prism.bootstrap import discovery
from prism.bootstrap.discovery import BrokenDriver, UnknownDriver

Install = Callable[..., Path]
Prism = Callable[..., Result]


def test_driver_of_another_package_is_listed_without_import(install: Install) -> None:
    install()
    assert {"fake-kv", "memstore", "remote"} <= set(discovery.names())
    assert "fake_kv_driver" not in sys.modules


def test_load_returns_the_spec_of_the_driver(install: Install) -> None:
    install()
    assert discovery.load("fake-kv").summary == "For tests."


def test_unknown_driver_lists_installed_drivers_closest_first(install: Install) -> None:
    install()
    with pytest.raises(
        UnknownDriver,
        match=r"'fake-vk'; the installed ones are: fake-kv, memstore, nats, redis, remote",
    ):
        discovery.load("fake-vk")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "ZeroDivisionError"),
        ("pass", "no attribute 'DRIVER'"),
        ("DRIVER = 7", "is not a DriverSpec"),
        (
            "from prism.adapters.memstore import DRIVER",
            "its DriverSpec is named 'memstore'; it must have the name of the entry point",
        ),
        (
            "from dataclasses import dataclass, replace\n"
            "from prism.adapters.memstore import DRIVER\n"
            "from prism.ports import setting\n"
            "@dataclass\n"
            "class S:\n"
            "    tables: dict = setting(None, help='')\n"
            "DRIVER = replace(DRIVER, name='fake-kv', settings=S)",
            "a setting cannot be of type <class 'dict'>",
        ),
    ],
)
def test_driver_that_does_not_load_has_a_reason(install: Install, source: str, reason: str) -> None:
    install(source=source)
    with pytest.raises(
        BrokenDriver, match="'fake-kv' of fake_kv_driver cannot be loaded"
    ) as raised:
        discovery.load("fake-kv")
    assert reason in raised.value.message


def test_missing_library_names_the_extra_to_install(install: Install) -> None:
    install(source="import no_such_library", extra="[fast]")
    with pytest.raises(BrokenDriver, match=r"try: pip install 'fake_kv_driver\[fast\]'"):
        discovery.load("fake-kv")


def test_two_packages_with_the_same_driver_are_named(install: Install) -> None:
    install()
    install(module="other_driver")
    with pytest.raises(BrokenDriver, match="fake_kv_driver, other_driver; uninstall all but one"):
        discovery.load("fake-kv")


def test_prism_drivers_lists_capabilities_and_problems(install: Install, prism: Prism) -> None:
    install()
    install("broken", module="broken_driver", source="import no_such_library")
    result = prism("drivers")
    assert result.exit_code == 0
    assert "fake-kv" in result.stdout
    assert "ttl (native), scan (emulated)" in result.stdout
    assert "broken  cannot be used: the driver 'broken' of broken_driver" in result.stdout


def test_prism_drivers_prints_json(install: Install, prism: Prism) -> None:
    install()
    install("broken", module="broken_driver", source="import no_such_library")
    drivers = {d["name"]: d for d in json.loads(prism("drivers", "--json").stdout)["drivers"]}
    assert drivers["fake-kv"]["capabilities"] == {"ttl": "native", "scan": "emulated"}
    assert drivers["fake-kv"]["version"] == "7.1"
    assert "no_such_library" in drivers["broken"]["problem"]


def test_serving_an_unknown_driver_is_status_2(prism: Prism) -> None:
    result = prism("serve", "--driver", "memstor")
    assert result.exit_code == 2
    assert "unknown driver 'memstor'; the installed ones are: memstore" in result.stderr


def test_serving_a_broken_driver_is_status_1(install: Install, prism: Prism) -> None:
    install(source="import no_such_library")
    result = prism("serve", "--driver", "fake-kv")
    assert result.exit_code == 1
    assert "No module named 'no_such_library'" in result.stderr
    assert "Traceback" not in result.output


def test_two_settings_with_the_same_flag_are_rejected(install: Install, prism: Prism) -> None:
    source = (
        "from dataclasses import dataclass, replace\n"
        "from prism.adapters.memstore import DRIVER\n"
        "from prism.ports import setting\n"
        "@dataclass\n"
        "class S:\n"
        "    port: int = setting(1, help='')\n"
        "DRIVER = replace(DRIVER, name='grpc', settings=S)"
    )
    install("grpc", source=source)
    result = prism("serve", "--driver", "grpc")
    assert result.exit_code == 1
    assert "the flag --grpc-port of its setting 'port' is already taken" in result.stderr
