"""The container image, without building it; its command runs for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from prism.bootstrap.probe import address_in
from prism.bootstrap.settings import ServeSettings
from prism.domain.settings import parse_duration
from tests.integration.deployment.files import DEPLOY, read

ROOT = DEPLOY.parent
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
COMPOSE = DEPLOY / "compose" / "compose.yaml"


def test_hadolint_accepts_the_dockerfile() -> None:
    command = [str(Path(sys.executable).with_name("hadolint")), str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_in_stages_and_runs_as_a_numeric_user_other_than_root() -> None:
    assert len(_instructions("FROM")) == 2
    assert int(_instructions("USER")[-1].split(":")[0]) > 0


def test_the_image_installs_only_exact_versions_with_hashes() -> None:
    installs = re.findall(r"pip install ([^&\n]+)", DOCKERFILE.read_text().replace("\\\n", " "))
    assert len(installs) == 3
    assert all("--require-hashes -r" in each or "--no-deps dist/" in each for each in installs)


@pytest.mark.parametrize("name", ["build", "server", "development"])
def test_a_lock_has_versions_and_hashes_and_names_no_registry(name: str) -> None:
    text = (DEPLOY / "locks" / f"{name}.txt").read_text()
    assert "://" not in text
    for requirement in re.findall(r"^[a-z].*(?:\n .*)*", text, re.MULTILINE):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", requirement)
        assert "--hash=sha256:" in requirement


def test_the_locks_satisfy_the_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    of_server = [*project["project"]["dependencies"], *extras["nats"], *extras["redis"]]
    needed = {
        "build": project["build-system"]["requires"],
        "server": of_server,
        "development": [*of_server, *(each for extra in extras.values() for each in extra)],
    }
    for name, requirements in needed.items():
        locked = _locked(name)
        for requirement in map(Requirement, requirements):
            if requirement.name != project["project"]["name"]:
                found = locked.get(canonicalize_name(requirement.name))
                assert found is not None, f"{requirement} is not in {name}.txt: run 'make lock'"
                assert requirement.specifier.contains(found), f"{requirement}: run 'make lock'"


@pytest.mark.parametrize("listening", ["port", "port with TLS", "Unix socket"])
def test_the_command_serves_is_healthy_and_exits_with_0_on_sigterm(
    listening: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = certificate
    variables = {
        "port": {"PRISM_GRPC_PORT": "0"},
        "port with TLS": {
            "PRISM_GRPC_PORT": "0",
            "PRISM_TLS_CERT": str(cert),
            "PRISM_TLS_KEY": str(key),
        },
        "Unix socket": {"PRISM_GRPC_SOCKET": str(tmp_path / "grpc.sock")},
    }[listening]
    (entrypoint,) = _instructions("ENTRYPOINT")
    (command,) = _instructions("CMD")
    words: list[str] = [*json.loads(entrypoint), *json.loads(command)]
    before, rest = words[: words.index("python")], words[words.index("python") + 1 :]
    process = subprocess.Popen(
        [*before, sys.executable, *rest],
        cwd=tmp_path,
        env={**_clean(), **_environment(), **variables, "PRISM_METRICS_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["message"] == "serving":
                break
        else:
            pytest.fail("the server ended before it served")
        port = event["metrics_address"].rpartition(":")[2]
        with urlopen(f"http://127.0.0.1:{port}/ready") as answer:
            assert json.load(answer) == {"status": "ready"}
        assert _check_health(port).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    done = _check_health(port)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"prism: no answer from http://127.0.0.1:{port}/health: ")


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, ("127.0.0.1", 9091)),
        ({"PRISM_HOST": "0.0.0.0", "PRISM_METRICS_PORT": "80"}, ("127.0.0.1", 80)),
        ({"PRISM_HOST": "10.0.0.7"}, ("10.0.0.7", 9091)),
        ({"PRISM_HOST": "10.0.0.7", "PRISM_METRICS_HOST": "[::]"}, ("::1", 9091)),
        ({"PRISM_METRICS_PORT": "tcp://10.0.0.5:80"}, ("127.0.0.1", 9091)),
    ],
)
def test_health_check_asks_where_variables_place_the_endpoints(
    environ: dict[str, str], address: tuple[str, int]
) -> None:
    assert address_in(environ) == address


def test_the_compose_file_is_valid() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(COMPOSE)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_files_in_the_compose_file_exist() -> None:
    tree = read(COMPOSE)
    files = [each["file"] for each in tree["configs"].values()]
    files.append(tree["x-prism"]["build"]["context"])
    assert all((COMPOSE.parent / file).exists() for file in files)
    context = COMPOSE.parent / tree["x-prism"]["build"]["context"]
    assert (context / tree["x-prism"]["build"]["dockerfile"]).samefile(DOCKERFILE)


def test_services_of_the_compose_file_use_distinct_ports_and_prism_has_9090() -> None:
    services = read(COMPOSE)["services"]
    ports = [
        (port.split(":")[1], name)
        for name, service in services.items()
        for port in service.get("ports", ())
    ]
    assert len({port for port, _ in ports}) == len(ports)
    assert ("9090", "prism-redis") in ports


def test_stop_timeouts_leave_time_to_drain() -> None:
    settings = ServeSettings()
    bounds = settings.drain_delay + settings.drain_timeout + settings.stop_timeout
    assert parse_duration(read(COMPOSE)["x-prism"]["stop_grace_period"]) > bounds
    unit = (DEPLOY / "systemd" / "prism.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(.*)$", unit, re.MULTILINE)
    assert parse_duration(stop) > bounds


@pytest.mark.parametrize("path", sorted(COMPOSE.parent.glob("*.y*ml")), ids=lambda path: path.name)
def test_mounted_configuration_is_valid_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def _locked(name: str) -> dict[str, str]:
    text = (DEPLOY / "locks" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==([^\s;]+)", text, re.MULTILINE))


def _instructions(name: str) -> list[str]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def _check_health(port: str) -> subprocess.CompletedProcess[str]:
    """Run the health check of the image."""
    (check,) = _instructions("HEALTHCHECK")
    program, *arguments = json.loads(check.partition(" CMD ")[2])
    assert program == "python"
    return subprocess.run(
        [sys.executable, *arguments],
        env={**_clean(), **_environment(), "PRISM_METRICS_PORT": port},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _environment() -> dict[str, str]:
    return dict(
        pair.split("=", 1) for each in _instructions("ENV") for pair in shlex.split(each)
    ) | {"PATH": os.environ["PATH"]}


def _clean() -> dict[str, Any]:
    return {name: text for name, text in os.environ.items() if not name.startswith("PRISM_")}
