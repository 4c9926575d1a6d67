"""The files under deploy/, and their contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"


def read(path: Path) -> dict[str, Any]:
    """Return the document in a YAML file."""
    tree: dict[str, Any] = yaml.safe_load(path.read_text())
    return tree


def manifests() -> list[Path]:
    """Return the manifests of Kubernetes: no kustomizations, no settings of Prism."""
    others = ("kustomization.yaml", "config.yaml")
    return sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name not in others)


def deployments() -> list[Path]:
    return sorted(KUBERNETES.rglob("deployment.yaml"))


def folder_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"
