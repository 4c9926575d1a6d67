"""Virtual environment with the wheels of Prism and of the example driver."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "driver-files"


@dataclass(frozen=True, slots=True)
class Outside:
    """Virtual environment outside the repository.

    Attributes:
        python: interpreter of the environment.
        folder: working directory of its processes.
        env: environment variables of its processes, without those of this test run.
    """

    python: Path
    folder: Path
    env: dict[str, str]

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run its Python with these arguments; fail unless it exits with status 0."""
        done = subprocess.run(
            [str(self.python), *args], cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{args}:\n{done.stdout}\n{done.stderr}"
        return done


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """Environment with Prism, its extra `testing`, and the example, installed from wheels."""
    folder = tmp_path_factory.mktemp("outside")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip, str(folder), str(ROOT), str(EXAMPLE)], check=True)
    (prism,) = folder.glob("prism_kv-*.whl")
    (example,) = folder.glob("prism_driver_files-*.whl")
    venv.create(folder / "venv", with_pip=True)
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(("PRISM_", "PYTHON", "PYTEST"))
    }
    found = Outside(folder / "venv" / "bin" / "python", folder, clean)
    found.run("-m", "pip", "install", "--quiet", "--no-compile", f"{prism}[testing]", str(example))
    return found
