"""What an installation brings, and what it does not."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import prism
from prism.adapters.memstore import DRIVER as MEMSTORE
from prism.adapters.remote import DRIVER as REMOTE

ROOT = Path(__file__).parents[2]


def required(extra: str | None) -> set[str]:
    """The names that are required by the package itself, or by an extra of it."""
    found = set()
    for line in requires("prism-kv") or []:
        name = re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0].lower()
        marker = re.search(r"extra == ['\"](.+?)['\"]", line)
        if (marker and marker[1]) == extra:
            found.add(name)
    return found


def test_memstore_alone_pulls_no_other_backend_and_no_test_tool() -> None:
    assert "grpcio" in required(None)
    assert required(None).isdisjoint({"redis", "nats-py", "pytest", "hypothesis", "aiocache"})
    assert "pytest" in required("testing")


def test_generated_code_runs_with_the_oldest_protobuf_that_is_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (bound,) = (each for each in project["dependencies"] if each.startswith("protobuf>="))
    assert bound in project["optional-dependencies"]["client"]
    for file in (ROOT / "src/prism/v1").glob("*_pb2.py"):
        generated = file.read_text()
        version = re.findall(r"^# Protobuf Python Version: (\S+)$", generated, re.MULTILINE)
        assert [bound] == [f"protobuf>={each},<8" for each in version]
        # From 5.27 on it asks for a protobuf that is as new as itself.
        assert "ValidateProtobufRuntimeVersion" not in generated


def test_our_drivers_carry_the_version_of_the_package() -> None:
    assert MEMSTORE.version == REMOTE.version


def test_what_prism_exports_is_there() -> None:
    for name in prism.__all__:
        assert getattr(prism, name) is not None
