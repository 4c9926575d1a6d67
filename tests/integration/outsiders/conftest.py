"""An environment of its own, with Prism's wheel and a package of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "driver-sqlite"


@dataclass(frozen=True, slots=True)
class Outside:
    """A virtual environment, and a folder far from the repository.

    Attributes:
        python: of the environment.
        env: variables for its processes: none of ours.
    """

    python: Path
    folder: Path
    env: dict[str, str]

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run its Python and return when that has ended well."""
        done = subprocess.run(
            [str(self.python), *args], cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{args}:\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """With Prism and its extra `testing`, and the example: both from their wheels."""
    folder = tmp_path_factory.mktemp("outside")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip, str(folder), str(ROOT), str(EXAMPLE)], check=True)
    (prism,) = folder.glob("prism-*.whl")
    (example,) = folder.glob("prism_driver_sqlite-*.whl")
    venv.create(folder / "venv", with_pip=True)
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("PRISM_", "PYTHON", "PYTEST"))
    }
    found = Outside(folder / "venv" / "bin" / "python", folder, clean)
    found.run("-m", "pip", "install", "--quiet", "--no-compile", f"{prism}[testing]", str(example))
    return found
