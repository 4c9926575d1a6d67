"""Builds wheel, sdist and proto files into dist/, and uses them: `python -m tests.package`.

The sdist must build the same wheel, and the wheel must serve in an empty environment. The archive
of proto files has all that a compiler needs beside its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
STATUS = ROOT / "build" / "googleapis" / "google" / "rpc" / "status.proto"


def main() -> int:
    """Build and check both; a failure raises."""
    wheel, sdist = build()
    with tempfile.TemporaryDirectory(prefix="prism-package-") as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", name, str(sdist))
        (from_sdist,) = folder.glob("*.whl")
        assert contents(from_sdist) == contents(wheel), "the sdist builds a different wheel"
        use(wheel, folder)
        protos = pack_protos(sdist.name.removeprefix("prism_kv-"))
        compile_protos(protos, folder)
    print(f"{wheel.name}, {sdist.name} and {protos.name} are in {DIST}")  # noqa: T201
    return 0


def build() -> tuple[Path, Path]:
    """Build both and return their paths."""
    for old in DIST.glob("prism_kv-*"):
        old.unlink()
    run(sys.executable, "-m", "hatchling", "build", "-d", str(DIST), cwd=ROOT)
    (wheel,), (sdist,) = DIST.glob("prism_kv-*.whl"), DIST.glob("prism_kv-*.tar.gz")
    return wheel, sdist


def pack_protos(suffix: str, folder: Path = DIST) -> Path:
    """Write the archive of the proto files into a folder, and return its path."""
    for old in folder.glob("prism-proto-*"):
        old.unlink()
    archive = folder / f"prism-proto-{suffix}"
    top = archive.name.removesuffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(ROOT / "LICENSE", f"{top}/LICENSE")
        packed.add(STATUS, f"{top}/google/rpc/status.proto")
        for file in sorted((ROOT / "proto").glob("prism/v1/*.proto")):
            packed.add(file, f"{top}/{file.relative_to(ROOT / 'proto')}")
    return archive


def compile_protos(archive: Path, folder: Path) -> None:
    """Compile what is in the archive, with nothing beside it."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    top = folder / archive.name.removesuffix(".tar.gz")
    protos = [str(file) for file in top.rglob("*.proto")]
    assert len(protos) == 5, protos
    run(sys.executable, "-m", "grpc_tools.protoc", "-I", str(top), f"--python_out={top}", *protos)


def contents(wheel: Path) -> dict[str, int]:
    """Return the checksum of each file in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {file.filename: file.CRC for file in archive.infolist()}


def use(wheel: Path, folder: Path) -> None:
    """Install only the wheel and its dependencies, then serve and call."""
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    run(str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel), cwd=folder)
    with serving(binaries / "python", folder) as address:
        kv = (str(binaries / "prism"), "kv")
        address_option = ("--address", address)
        run(*kv, "set", "greeting", "hello, world", *address_option, cwd=folder)
        assert run(*kv, "get", "greeting", *address_option, cwd=folder).strip() == "hello, world"


@contextmanager
def serving(python: Path, folder: Path) -> Iterator[str]:
    """Run a server and give its address; SIGTERM must end it with status 0."""
    command = [str(python), "-m", "prism.bootstrap", "--driver", "memstore"]
    process = subprocess.Popen(
        [*command, "--grpc-port", "0", "--metrics-port", "0"],
        cwd=folder,
        env=_clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        events = (json.loads(line) for line in process.stderr)
        yield next(event["grpc_address"] for event in events if event["message"] == "serving")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return its output; raise CalledProcessError if it fails."""
    return subprocess.run(
        command, cwd=cwd, env=_clean_environment(), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _clean_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PRISM_", "PYTHONPATH"))}


if __name__ == "__main__":
    sys.exit(main())
