"""Python environments of the matrix: a version of Python with old or new dependencies."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.metadata import requires
from pathlib import Path

from tests.matrix import debian
from tests.matrix.downloads import ROOT, Unavailable, once, run

PROJECT = Path(__file__).parents[2]

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""Versions of Python, the oldest first."""

_EXTRAS = ("jwt", "nats", "redis", "testing")
"""Extras whose dependencies are installed in the versions that the cell asks for."""

_TOOLS = ("pytest", "pytest-asyncio", "pytest-xdist")
"""Development tools that the tests of the matrix need; the versions are those of `dev`."""


class Dependencies(StrEnum):
    """Which of the versions that `pyproject.toml` allows are installed."""

    OLDEST = "oldest"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Environment:
    """A version of Python, and the versions of the dependencies."""

    python: str
    dependencies: Dependencies

    @property
    def name(self) -> str:
        return f"python{self.python}-{self.dependencies}"

    def make(self) -> Path:
        """Make the environment once for the versions that it gets; return its interpreter.

        Raises:
            Unavailable: there is no such Python, or the versions cannot be installed.
        """
        uv, python = _uv(), _interpreter(self.python)
        locked = self._resolve(uv)
        # Drivers are entry points, which an installation copies.
        project = (PROJECT / "pyproject.toml").read_text()
        digest = hashlib.sha256(f"{locked}{project}".encode()).hexdigest()[:12]

        def fill(folder: Path) -> None:
            run([uv, "venv", "--quiet", "--python", str(python), str(folder)])
            constraints = folder / "constraints.txt"
            constraints.write_text(locked)
            target = ["--python", str(folder / "bin/python"), "--constraints", str(constraints)]
            prism = ["--editable", f".[{','.join(_EXTRAS)}]"]
            run([uv, "pip", "install", "--quiet", *target, *_tools(), *prism], cwd=PROJECT)

        return once(ROOT / "environments" / f"{self.name}-{digest}", fill) / "bin/python"

    def _resolve(self, uv: str) -> str:
        """Return the version of each dependency of Prism and its extras, as constraints.

        The tools may ask for lower ones than these extras allow.
        """
        tools = ROOT / "tools.txt"
        tools.parent.mkdir(parents=True, exist_ok=True)
        tools.write_text("\n".join(_tools()))
        choice = "lowest-direct" if self.dependencies is Dependencies.OLDEST else "highest"
        options = ["--quiet", "--no-header", "--no-annotate", "--resolution", choice]
        options += ["--python-version", self.python, "--constraints", str(tools)]
        options += [f"--extra={name}" for name in _EXTRAS]
        return run([uv, "pip", "compile", *options, "pyproject.toml"], cwd=PROJECT)


def newest_installed() -> str:
    """Return the newest version of Python that this machine has."""
    return max(VERSIONS, key=lambda version: (_is_installed(version), VERSIONS.index(version)))


def versions_in(python: Path) -> str:
    """Return the versions of Python and of the main dependencies in an environment."""
    code = (
        "import platform; from importlib.metadata import version; "
        "print(platform.python_version(), "
        "*(f'{n} {version(n)}' for n in ('grpcio', 'redis', 'nats-py', 'typer')), sep=', ')"
    )
    return run([str(python), "-c", code]).strip()


def _tools() -> Iterator[str]:
    """Return the requirements of `dev` for the tools."""
    for line in requires("prism-kv") or []:
        requirement, _, marker = line.partition(";")
        if re.match(r"[\w-]+", requirement)[0] in _TOOLS and "dev" in marker:  # type: ignore[index]
            yield requirement.strip()


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Unavailable("uv is missing: 'make tools' installs it")
    return found


@cache
def _interpreter(version: str) -> Path:
    """Return an interpreter of this version: an installed one, else one of Debian's.

    Raises:
        Unavailable: there is none.
    """
    for installed in _installed(version):
        return installed
    for suite in ("bookworm", "trixie", "sid"):
        try:
            return _debian_python(version, suite)
        except Unavailable as error:
            last = error
    raise Unavailable(
        f"no interpreter: Python {version} is not on the PATH, pyenv and uv have none, and nor has "
        f"Debian ({last}); 'uv python install {version}' or 'pyenv install {version}' brings one"
    )


def _is_installed(version: str) -> bool:
    return any(True for _ in _installed(version))


def _installed(version: str) -> Iterator[Path]:
    """Return the interpreters of this version that are complete."""
    for program in _candidates(version):
        try:
            run([str(program), "-c", "import ssl, sqlite3, venv"])
        except Unavailable:
            continue
        yield program


def _candidates(version: str) -> Iterator[Path]:
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield Path(sys._base_executable)  # type: ignore[attr-defined]
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)
    with suppress(Unavailable):
        own = ["--managed-python", "--no-python-downloads", version]
        yield Path(run([_uv(), "python", "find", *own]).strip())


def _debian_python(version: str, suite: str) -> Path:
    name, program = f"python{version}", f"usr/bin/python{version}"

    def make(folder: Path) -> None:
        packages = [name, f"{name}-minimal", f"lib{name}-stdlib", f"lib{name}-minimal"]
        # Wheels with code in C++ expect the system's library.
        debian.unpack(suite, [*packages, "libstdc++6"], [program], folder)

    return once(ROOT / "debian" / f"{name}-{suite}", make) / program
