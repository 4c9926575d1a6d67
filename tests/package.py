"""Builds wheel and sdist into dist/, installs and uses them: `python -m tests.package`.

The sdist must build the same wheel, and the wheel must serve in an empty environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


def main() -> int:
    """Build and check both; a failure raises."""
    wheel, sdist = build()
    with tempfile.TemporaryDirectory(prefix="prism-package-") as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", name, str(sdist))
        (from_sdist,) = folder.glob("*.whl")
        assert contents(from_sdist) == contents(wheel), "the sdist builds a different wheel"
        use(wheel, folder)
    print(f"{wheel.name} and {sdist.name} are in {DIST}")  # noqa: T201
    return 0


def build() -> tuple[Path, Path]:
    """Build both and return their paths."""
    for old in DIST.glob("prism_kv-*"):
        old.unlink()
    run(sys.executable, "-m", "hatchling", "build", "-d", str(DIST), cwd=ROOT)
    (wheel,), (sdist,) = DIST.glob("prism_kv-*.whl"), DIST.glob("prism_kv-*.tar.gz")
    return wheel, sdist


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
