"""What is published: `python -m tests.package` builds it, installs it elsewhere and uses it.

Wheel and sdist go to dist/. The sdist has to make the same wheel, and the wheel has to serve
in an environment that holds nothing else.
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
    """Do all of it; a stack trace where something fails."""
    wheel, sdist = build()
    with tempfile.TemporaryDirectory(prefix="prism-package-") as name:
        folder = Path(name)
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", name, str(sdist))
        (from_sdist,) = folder.glob("*.whl")
        assert contents(from_sdist) == contents(wheel), "the sdist makes another wheel"
        use(wheel, folder)
    print(f"{wheel.name} and {sdist.name} are in {DIST}")  # noqa: T201
    return 0


def build() -> tuple[Path, Path]:
    """The wheel and the sdist."""
    for old in DIST.glob("prism-*"):
        old.unlink()
    run(sys.executable, "-m", "hatchling", "build", "-d", str(DIST), cwd=ROOT)
    (wheel,), (sdist,) = DIST.glob("prism-*.whl"), DIST.glob("prism-*.tar.gz")
    return wheel, sdist


def contents(wheel: Path) -> dict[str, int]:
    """Each file in it, and the checksum of that."""
    with zipfile.ZipFile(wheel) as archive:
        return {file.filename: file.CRC for file in archive.infolist()}


def use(wheel: Path, folder: Path) -> None:
    """Serve by nothing but the wheel and what that asks for."""
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    run(str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel), cwd=folder)
    with serving(binaries / "python", folder) as address:
        kv = (str(binaries / "prism"), "kv")
        where = ("--address", address)
        run(*kv, "set", "greeting", "hello, world", *where, cwd=folder)
        assert run(*kv, "get", "greeting", *where, cwd=folder).strip() == "hello, world"


@contextmanager
def serving(python: Path, folder: Path) -> Iterator[str]:
    """The address of a server, which is ended as an init system does, and takes that well."""
    command = [str(python), "-m", "prism.bootstrap", "--driver", "memstore"]
    process = subprocess.Popen(
        [*command, "--grpc-port", "0", "--metrics-port", "0"],
        cwd=folder,
        env=_clean(),
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
    """What it prints; raises CalledProcessError when it fails."""
    return subprocess.run(
        command, cwd=cwd, env=_clean(), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PRISM_", "PYTHONPATH"))}


if __name__ == "__main__":
    sys.exit(main())
