"""The manifests of Kubernetes are valid and match Prism's behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes_validate import ValidationError, validate

from prism.domain.settings import parse_duration
from tests.integration.deployment.files import (
    KUBERNETES,
    deployments,
    folder_of,
    manifests,
    read,
)

VERSIONS = ("1.30", "1.37")
"""Versions of Kubernetes: an old one still in use, and the latest that the validator knows."""

Deployment = pytest.mark.parametrize("path", deployments(), ids=folder_of)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", manifests(), ids=folder_of)
def test_every_manifest_is_valid(path: Path, version: str) -> None:
    validate(read(path), version, strict=True)


def test_validation_rejects_an_unknown_field() -> None:
    tree = read(deployments()[0])
    tree["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(ValidationError):
        validate(tree, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("path", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=folder_of)
def test_a_kustomization_uses_exactly_the_files_of_its_folder(path: Path) -> None:
    tree = read(path)
    generated = [name for each in tree.get("configMapGenerator", ()) for name in each["files"]]
    named = {(path.parent / name).resolve() for name in (*tree["resources"], *generated)}
    assert all(each.exists() for each in named)
    beside = set(path.parent.resolve().glob("*.yaml")) - {path.resolve()}
    assert beside == {each for each in named if each.parent == path.parent.resolve()}


@Deployment
def test_liveness_probes_health_and_readiness_probes_ready(path: Path) -> None:
    container = _container(path)
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in _PATHS}
    assert {name: probe["path"] for name, probe in probes.items()} == _PATHS
    assert {probe["port"] for probe in probes.values()} == {"metrics"}


@Deployment
def test_ports_are_named_control_plane_and_metrics(path: Path) -> None:
    ports = {port["name"]: port["containerPort"] for port in _container(path)["ports"]}
    assert ports == {"control-plane": 9090, "metrics": 9091}


@Deployment
def test_the_grace_period_covers_delay_drain_and_stop(path: Path) -> None:
    env = _env(path)
    bounds = ("PRISM_DRAIN_DELAY", "PRISM_DRAIN_TIMEOUT", "PRISM_STOP_TIMEOUT")
    seconds = sum(parse_duration(env[name]).total_seconds() for name in bounds)
    assert _pod(path)["terminationGracePeriodSeconds"] >= seconds + 3


@Deployment
def test_the_container_runs_without_root_and_with_a_read_only_root(path: Path) -> None:
    pod, container = _pod(path), _container(path)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@Deployment
def test_mounts_have_volumes_and_files_are_in_mounts(path: Path) -> None:
    volumes = {volume["name"] for volume in _pod(path)["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in _container(path)["volumeMounts"]}
    assert mounts.keys() == volumes
    files = [value for name, value in _env(path).items() if name.endswith("_FILE")]
    files += [arg.partition("=")[2] for arg in _container(path)["args"] if "/" in arg]
    assert all(any(file.startswith(mount) for mount in mounts.values()) for file in files)


@Deployment
def test_service_and_disruption_budget_select_the_pods(path: Path) -> None:
    labels = read(path)["spec"]["template"]["metadata"]["labels"]
    assert read(KUBERNETES / "base/service.yaml")["spec"]["selector"] == labels
    budget = read(KUBERNETES / "base/disruption-budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert budget["maxUnavailable"] < read(path)["spec"]["replicas"]


_PATHS = {"startup": "/health", "liveness": "/health", "readiness": "/ready"}


def _pod(path: Path) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = read(path)["spec"]["template"]["spec"]
    return pod


def _container(path: Path) -> Mapping[str, Any]:
    (container,) = _pod(path)["containers"]
    found: Mapping[str, Any] = container
    return found


def _env(path: Path) -> Mapping[str, str]:
    return {each["name"]: each["value"] for each in _container(path)["env"]}
