"""The server in Go is left out, with what brings it, where Go or its packages are missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import go
from benchmarks.processes import CannotRun, NotInstalled

BROUGHT_BY = "apt install golang-go golang-google-grpc-dev golang-goprotobuf-dev"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pretend that the packages are there, with a compiler that fails."""
    for package in ("google.golang.org/grpc", "github.com/golang/protobuf"):
        (tmp_path / "src" / package).mkdir(parents=True)
    compiler = tmp_path / "go"
    compiler.write_text("#!/bin/sh\necho cannot compile $GOPATH >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(go, "_GOPATH", tmp_path)
    return tmp_path


def test_without_go_the_row_names_what_brings_it(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed / "src"))
    with pytest.raises(NotInstalled, match=BROUGHT_BY):
        go.build()


def test_without_the_grpc_package_the_row_names_what_brings_it(installed: Path) -> None:
    shutil.rmtree(installed / "src" / "google.golang.org")
    with pytest.raises(NotInstalled, match=BROUGHT_BY):
        go.build()


def test_a_failed_compilation_does_not_count_as_missing(installed: Path) -> None:
    with pytest.raises(CannotRun, match=f"go build failed: cannot compile {installed}") as failure:
        go.build()
    assert not isinstance(failure.value, NotInstalled)
