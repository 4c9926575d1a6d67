"""A server on grpc-go to compare with, built from go_server/main.go with Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import CannotRun, NotInstalled
from benchmarks.sides import Measure, MeasurementContext, UnderH2load

PROGRAM = Path("build/bench/go_server")

_SOURCE = Path(__file__).parent / "go_server" / "main.go"
_GOPATH = Path("/usr/share/gocode")
_PACKAGES = ("google.golang.org/grpc", "github.com/golang/protobuf")
_DEBIAN_PACKAGES = "golang-go golang-google-grpc-dev golang-goprotobuf-dev"


def build() -> None:
    """Build the server as `PROGRAM`.

    Raises:
        NotInstalled: Go or one of the packages is missing.
        CannotRun: the compiler failed; the message has the end of its output.
    """
    packages = [_GOPATH / "src" / package for package in _PACKAGES]
    if shutil.which("go") is None or not all(package.is_dir() for package in packages):
        raise NotInstalled(
            "Go or its gRPC package is missing: on Debian, install them by "
            f"`apt install {_DEBIAN_PACKAGES}`"
        )
    done = subprocess.run(  # noqa: S603  (a command of this package only)
        ["go", "build", "-o", str(PROGRAM), str(_SOURCE)],  # noqa: S607
        env={**os.environ, "GO111MODULE": "off", "GOPATH": str(_GOPATH)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRun(f"go build failed: {done.stderr.strip()[-500:]}")


@dataclass(frozen=True, slots=True)
class InGo(UnderH2load):
    """The server in Go under h2load: items per second. It is built first."""

    def open(self, context: MeasurementContext) -> Measure:
        build()
        return UnderH2load.open(self, context)
