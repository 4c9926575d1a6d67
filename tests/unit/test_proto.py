"""The check of the protocol finds a change that breaks callers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prism.v1 import keyvalue_pb2, lifecycle_pb2, pattern_pb2, proxy_pb2

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).parent / "buf"


def breaking(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BUF, "breaking", "proto", "--against", "proto/baseline.binpb"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copytree(ROOT / "build" / "googleapis", tmp_path / "build" / "googleapis")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def test_no_outer_class_in_java_has_the_name_of_a_message() -> None:
    files = [each.DESCRIPTOR for each in (keyvalue_pb2, lifecycle_pb2, pattern_pb2, proxy_pb2)]
    names = {
        name for each in files for name in (*each.message_types_by_name, *each.enum_types_by_name)
    }
    for each in files:
        named: str = each.GetOptions().java_outer_classname
        assert (named or Path(each.name).stem.capitalize()) not in names, each.name


def test_the_wire_is_that_of_the_baseline(copy: Path) -> None:
    assert breaking(copy).returncode == 0


def test_a_field_of_another_type_is_found(copy: Path) -> None:
    file = copy / "proto" / "prism" / "v1" / "keyvalue.proto"
    text = file.read_text()
    assert "uint64 timeout_ms = 2;" in text
    file.write_text(text.replace("uint64 timeout_ms = 2;", "string timeout_ms = 2;"))
    found = breaking(copy)
    assert found.returncode != 0
    assert "timeout_ms" in found.stdout
