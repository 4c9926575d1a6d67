"""The files under deploy/, and the manifests of Kubernetes as `kubectl apply -k` sends them."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
COMPONENTS = KUBERNETES / "components"

VARIANTS = sorted(
    path.parent.name
    for path in KUBERNETES.glob("*/kustomization.yaml")
    if path.parent.name not in ("base", "monitoring")
)
"""Folders that can be applied, each with a Prism."""

Tree = dict[str, Any]


def read(path: Path) -> Tree:
    """Return the document in a YAML file."""
    tree: Tree = yaml.safe_load(path.read_text())
    return tree


@cache
def rendered(folder: Path) -> tuple[Tree, ...]:
    """Return the objects that `kubectl apply -k` sends for a kustomization."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{folder}:\n{done.stderr}"
    assert not done.stderr, f"{folder}:\n{done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


def only(kind: str, objects: tuple[Tree, ...]) -> Tree:
    """Return the one object of a kind."""
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


class Pod:
    """The pod of a variant, and its container with a Prism server."""

    def __init__(self, variant: str) -> None:
        self.objects = rendered(KUBERNETES / variant)
        (self.workload,) = (
            each for each in self.objects if each["kind"] in ("Deployment", "StatefulSet")
        )
        self.labels: Tree = self.workload["spec"]["template"]["metadata"]["labels"]
        self.spec: Tree = self.workload["spec"]["template"]["spec"]
        self.containers: list[Tree] = [
            *self.spec.get("initContainers", ()),
            *self.spec["containers"],
        ]
        (self.prism,) = (each for each in self.containers if each["name"] == "prism")

    @property
    def env(self) -> dict[str, str]:
        """Variables of the server."""
        return {each["name"]: each["value"] for each in self.prism["env"]}

    @property
    def config(self) -> str:
        """Content of the config file."""
        text: str = only("ConfigMap", self.objects)["data"]["config.yaml"]
        return text
