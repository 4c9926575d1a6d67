"""Prism and NATS accept the configuration under deploy/."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from prism.bootstrap import discovery
from prism.bootstrap.options import driver_options, options_of, server_options
from prism.bootstrap.proxy.settings import ProxySettings
from tests.integration.deployment.files import COMPONENTS, DEPLOY, KUBERNETES, VARIANTS, Pod, read

BIN = Path(sys.executable).parent


def run(*command: str) -> str:
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def effective_settings(path: Path) -> str:
    """Return the effective settings with the config file."""
    show = "show-proxy" if "patterns" in read(path) else "show"
    return run(str(BIN / "prism"), "config", show, "--config", str(path))


@pytest.mark.parametrize(
    "path", sorted(KUBERNETES.rglob("config.yaml")), ids=lambda path: path.parent.name
)
def test_a_config_file_is_accepted(path: Path) -> None:
    assert str(path) in effective_settings(path)


def test_a_config_file_with_an_unknown_setting_is_rejected(tmp_path: Path) -> None:
    wrong = tmp_path / "config.yaml"
    wrong.write_text((KUBERNETES / "redis" / "config.yaml").read_text() + "drian_timeout: 1s\n")
    with pytest.raises(AssertionError, match="drian_timeout"):
        effective_settings(wrong)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_container_s_arguments_and_variables_exist(variant: str) -> None:
    pod = Pod(variant)
    config: dict[str, Any] = yaml.safe_load(pod.config)
    program = "proxy" if "patterns" in config else "serve"
    assert pod.prism.get("command", ["serve"])[-1] == program
    (argument,) = pod.prism["args"]
    assert argument == "--config=/etc/prism/config.yaml"
    assert pod.env.keys() - {"PRISM_ADDRESS"} <= _variables(config)


def test_the_variables_of_components_exist() -> None:
    options = [*_variables({"driver": "redis"}), *_variables({"driver": "nats"})]
    text = "".join(path.read_text() for path in COMPONENTS.rglob("*.yaml"))
    assert set(re.findall(r"name: (PRISM_\w+)", text)) - {"PRISM_ADDRESS"} <= set(options)


def test_the_systemd_unit_runs_an_existing_command() -> None:
    unit = (DEPLOY / "systemd" / "prism.service").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    python, *args = shlex.split(command)
    assert python.endswith("/bin/python")
    assert args[:3] == ["-P", "-m", "prism.bootstrap"]
    assert "--config" in args
    run(sys.executable, *args[:3], "--help")
    assert "StartLimitIntervalSec=0" in unit


def test_the_nats_server_accepts_its_configuration() -> None:
    run(str(BIN / "nats-server"), "-t", "-c", str(DEPLOY / "compose" / "nats.conf"))


def _variables(config: dict[str, Any]) -> set[str]:
    """Return the variables that Prism reads with this configuration."""
    options = [*server_options(), *server_options(ProxySettings)]
    if "driver" in config:
        options += driver_options(discovery.load(config["driver"]))
    for name, pattern in config.get("patterns", {}).items():
        spec = discovery.load(pattern["driver"])
        options += options_of(spec.settings, spec.name, name)
    return {option.variable for option in options}
