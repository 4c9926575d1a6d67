"""The manifests of Kubernetes are valid and match Prism's behaviour."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from prism.domain.settings import parse_duration
from prism.version import VERSION
from tests.integration.deployment.files import (
    COMPONENTS,
    KUBERNETES,
    VARIANTS,
    Pod,
    Tree,
    only,
    rendered,
)

VERSIONS = ("1.30", "1.37")
"""Versions of Kubernetes: an old one still in use, and the latest that the validator knows."""

Variant = pytest.mark.parametrize("variant", VARIANTS)
ServiceVariant = pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "sidecar"])


def build(folder: Path, **kustomization: Any) -> tuple[Tree, ...]:
    """Render a kustomization of a user, who keeps it beside the ones here."""
    (folder / "deploy").symlink_to(KUBERNETES)
    own = folder / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return rendered(own)


@pytest.mark.parametrize("version", VERSIONS)
@Variant
def test_every_manifest_is_valid(variant: str, version: str) -> None:
    for tree in rendered(KUBERNETES / variant):
        validate(tree, version, strict=True)


def test_validation_rejects_an_unknown_field() -> None:
    pod = Pod("redis")
    container = {**pod.prism, "readinesProbe": {}}
    spec = {**pod.spec, "containers": [container]}
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "prism"}, "spec": spec}
    with pytest.raises(ValidationError):
        validate(tree, VERSIONS[-1], strict=True)


def test_all_variants_fit_in_one_namespace() -> None:
    objects = [each for variant in VARIANTS for each in rendered(KUBERNETES / variant)]
    names = Counter((each["kind"], each["metadata"]["name"]) for each in objects)
    assert [name for name, times in names.items() if times > 1] == []
    selectors = [each["spec"]["selector"] for each in objects if each["kind"] == "Service"]
    for variant in VARIANTS:
        pod = Pod(variant)
        selecting = [each for each in selectors if each.items() <= pod.labels.items()]
        assert len(selecting) == (0 if variant == "sidecar" else 2)


@ServiceVariant
def test_selectors_and_references_find_the_objects_of_the_variant(variant: str) -> None:
    pod = Pod(variant)
    for tree in pod.objects:
        spec = tree.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector is not None:
            pairs = selector.get("matchLabels", selector)
            assert "app.kubernetes.io/instance" in pairs
            assert pairs.items() <= pod.labels.items()
    names = {(each["kind"], each["metadata"]["name"]) for each in pod.objects}
    assert ("ServiceAccount", pod.spec["serviceAccountName"]) in names
    (mounted,) = (each["configMap"] for each in pod.spec["volumes"] if "configMap" in each)
    assert ("ConfigMap", mounted["name"]) in names


@ServiceVariant
def test_a_service_for_calls_and_another_for_metrics_name_their_ports(variant: str) -> None:
    pod = Pod(variant)
    services = [each["spec"] for each in pod.objects if each["kind"] == "Service"]
    ports = {port["name"]: port["port"] for each in services for port in each["ports"]}
    of_pod = {port["name"]: port["containerPort"] for port in pod.prism["ports"]}
    assert ports == of_pod == {"control-plane": 9090, "metrics": 9091}
    assert sorted(len(each["ports"]) for each in services) == [1, 1]
    assert all(port["targetPort"] == port["name"] for each in services for port in each["ports"])
    (calls,) = (each for each in services if each["ports"][0]["name"] == "control-plane")
    encrypted = "PRISM_TLS_CERT" in pod.env
    assert calls["ports"][0]["appProtocol"] == ("https" if encrypted else "kubernetes.io/h2c")


@Variant
def test_the_image_has_the_version_and_is_not_always_pulled(variant: str) -> None:
    for container in Pod(variant).containers:
        assert container["image"] == f"prism:{VERSION}"
        assert "imagePullPolicy" not in container


@Variant
def test_a_secret_is_needed_only_in_a_secure_variant(variant: str) -> None:
    pod = Pod(variant)
    secrets = {each["secret"]["secretName"] for each in pod.spec["volumes"] if "secret" in each}
    assert bool(secrets) == variant.endswith("-secure")
    assert not [each for each in pod.containers if "envFrom" in each]


@Variant
def test_liveness_probes_health_and_readiness_probes_ready(variant: str) -> None:
    probes = {name: Pod(variant).prism[f"{name}Probe"]["httpGet"] for name in _PATHS}
    assert {name: probe["path"] for name, probe in probes.items()} == _PATHS
    assert {probe["port"] for probe in probes.values()} == {"metrics"}


@Variant
def test_the_grace_period_covers_delay_drain_and_stop(variant: str) -> None:
    pod = Pod(variant)
    bounds = ("PRISM_DRAIN_DELAY", "PRISM_DRAIN_TIMEOUT", "PRISM_STOP_TIMEOUT")
    seconds = sum(parse_duration(pod.env.get(name, "0s")).total_seconds() for name in bounds)
    assert seconds > 0
    assert pod.spec["terminationGracePeriodSeconds"] >= seconds + 3


@Variant
def test_containers_run_without_root_a_token_or_service_links(variant: str) -> None:
    pod = Pod(variant)
    assert pod.spec["enableServiceLinks"] is False
    assert pod.spec["automountServiceAccountToken"] is False
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    for container in pod.containers:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@Variant
def test_mounts_have_volumes_and_files_are_in_mounts(variant: str) -> None:
    pod = Pod(variant)
    claims = pod.workload["spec"].get("volumeClaimTemplates", ())
    volumes = {volume["name"] for volume in pod.spec["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in claims}
    mounts = {m["name"]: m["mountPath"] for m in pod.prism["volumeMounts"]}
    assert mounts.keys() == volumes
    files = [value for value in pod.env.values() if value.startswith("/")]
    files += [arg.partition("=")[2] for arg in pod.prism["args"] if "/" in arg]
    assert files
    assert all(any(file.startswith(mount) for mount in mounts.values()) for file in files)


@ServiceVariant
def test_a_budget_keeps_a_replica_where_there_are_several(variant: str) -> None:
    pod = Pod(variant)
    replicas = pod.workload["spec"]["replicas"]
    # Replicas of the embedded store, and on files, would each have keys of their own.
    assert (replicas == 1) == (variant in ("memstore", "sqlite"))
    budget = only("PodDisruptionBudget", pod.objects)["spec"]
    assert budget["maxUnavailable"] == 1


@ServiceVariant
def test_the_network_policy_keeps_metrics_from_callers(variant: str) -> None:
    policy = only("NetworkPolicy", Pod(variant).objects)["spec"]
    sources = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    assert sources["control-plane"] == [{"podSelector": {}}]
    (source,) = sources["metrics"]
    assert source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == "monitoring"
    assert policy["policyTypes"] == ["Ingress"]


@Variant
def test_the_pod_monitor_finds_the_pods_and_their_port(variant: str) -> None:
    (monitor,) = rendered(KUBERNETES / "monitoring")
    pod = Pod(variant)
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
    ports = {port["name"] for port in pod.prism["ports"]}
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= ports
    # The alerts match this job; annotations would have the pods scraped a second time.
    assert pod.labels[monitor["spec"]["jobLabel"]] == "prism"
    annotations = pod.workload["spec"]["template"]["metadata"].get("annotations", {})
    assert not any(name.startswith("prometheus.io/") for name in annotations)


@pytest.mark.parametrize("variant", ["redis", "nats", "proxy"])
def test_autoscaling_scales_the_deployment_of_a_variant(variant: str, tmp_path: Path) -> None:
    objects = build(
        tmp_path,
        nameSuffix="-x",
        resources=[f"../deploy/{variant}"],
        components=["../deploy/components/autoscaling"],
    )
    deployment = only("Deployment", objects)
    scaler = only("HorizontalPodAutoscaler", objects)
    for version in VERSIONS:
        validate(scaler, version, strict=True)
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    (metric,) = scaler["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "prism_operations_in_flight"


COMPONENT_NAMES = sorted(path.name for path in COMPONENTS.iterdir())


@pytest.mark.parametrize(
    "components", [*combinations(COMPONENT_NAMES, 1), *combinations(COMPONENT_NAMES, 2)]
)
def test_components_can_be_combined(components: tuple[str, ...], tmp_path: Path) -> None:
    objects = build(
        tmp_path,
        resources=["../deploy/redis"],
        components=[f"../deploy/components/{name}" for name in components],
    )
    for tree in objects:
        validate(tree, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("variant", ["redis", "sqlite"])
def test_tls_and_a_token_can_be_added_to_every_kind_of_workload(
    variant: str, tmp_path: Path
) -> None:
    objects = build(
        tmp_path,
        resources=[f"../deploy/{variant}"],
        components=["../deploy/components/tls", "../deploy/components/admin-token"],
    )
    (workload,) = (each for each in objects if each["kind"] in ("Deployment", "StatefulSet"))
    validate(workload, VERSIONS[-1], strict=True)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    names = {each["name"] for each in container["env"]}
    assert {"PRISM_TLS_CERT", "PRISM_ADMIN_TOKEN_FILE"} <= names


def test_the_file_is_on_a_volume_that_outlives_the_pod() -> None:
    pod = Pod("sqlite")
    services = [each["metadata"]["name"] for each in pod.objects if each["kind"] == "Service"]
    assert pod.workload["kind"] == "StatefulSet"
    assert pod.workload["spec"]["serviceName"] in services
    (claim,) = pod.workload["spec"]["volumeClaimTemplates"]
    (mount,) = (
        each for each in pod.prism["volumeMounts"] if each["name"] == claim["metadata"]["name"]
    )
    settings = yaml.safe_load(pod.config)["drivers"]["sqlite"]
    assert settings["path"].startswith(mount["mountPath"] + "/")
    size = claim["spec"]["resources"]["requests"]["storage"]
    # The file, its log, and a backup beside it.
    assert 2 * settings["max_bytes"] < int(size.removesuffix("Gi")) << 30


_PATHS = {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
