"""Where the clients are installed: an environment of their own, made again when they change."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "build" / "clients"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
PACKAGES = Path(__file__).with_name("package.json")

_TIMEOUT_S = 600.0


class Environment:
    """Folder with the clients of Python, those of Node, and Django's own tests."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.python = folder / "python" / "bin" / "python"
        self.node_modules = folder / "node" / "node_modules"
        self._stamp = folder / "installed"

    def install(self) -> None:
        """Install what is missing.

        Raises:
            subprocess.CalledProcessError: an installer failed; what it said is on stderr.
        """
        wanted = sha256(REQUIREMENTS.read_bytes() + PACKAGES.read_bytes()).hexdigest()
        if self._stamp.exists() and self._stamp.read_text() == wanted:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "node").mkdir(parents=True)
        uv = Path(sys.executable).with_name("uv")
        _run(uv, "venv", "--quiet", "--python", sys.executable, self.folder / "python")
        _run(uv, "pip", "install", "--quiet", "--python", self.python, "-r", REQUIREMENTS)
        shutil.copy(PACKAGES, self.folder / "node")
        _run(
            *("npm", "install", "--prefix", self.folder / "node"),
            *("--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"),
        )
        self._unpack_tests_of_django()
        self._stamp.write_text(wanted)

    def version_of(self, package: str) -> str:
        """Return the installed version of a package of Python."""
        code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
        return _run(self.python, "-c", code, package).strip()

    def node_version_of(self, package: str) -> str:
        """Return the installed version of a package of Node."""
        text = (self.node_modules / package / "package.json").read_text()
        version: str = json.loads(text)["version"]
        return version

    def _unpack_tests_of_django(self) -> None:
        """Unpack the source of the installed version: a wheel has no tests."""
        _run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", ":all:", "--dest", self.folder),
            f"django=={self.version_of('django')}",
        )
        (archive,) = self.folder.glob("django-*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(self.folder, filter="data")


def _run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(each) for each in command],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
    )
    return done.stdout
