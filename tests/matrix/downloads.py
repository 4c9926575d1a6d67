"""What the matrix downloads: kept under `build/matrix`, and downloaded once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(os.environ.get("PRISM_MATRIX_FOLDER", "build/matrix")).absolute()
"""Folder of downloads, environments and results."""

TIMEOUT_S = 300.0


class Unavailable(Exception):
    """Something cannot be had on this machine; the text says why."""


def run(command: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a command and return its output.

    Raises:
        Unavailable: it failed, or took longer than five minutes.
    """
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines() or [str(error)]
        raise Unavailable(f"{Path(command[0]).name}: {lines[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(command[0]).name}: {error}") from None
    return done.stdout


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder unless it is complete; a failure leaves nothing behind.

    Its place is final from the start, since programs and environments contain their own path.
    """
    complete = folder.with_name(f"{folder.name}.complete")
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            make(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        complete.touch()
    return folder


def unpack_wheel(name: str, version: str, *tags: str) -> Path:
    """Download a wheel and return the folder with its content.

    Args:
        tags: options of `pip download` for a wheel that is made for another system.
    """

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), *tags]
        run([*pip, *options, f"{name}=={version}"])
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
        for program in folder.rglob("*"):
            if program.is_file() and program.parent.name in {"bin", "scripts", "linux-x86_64"}:
                program.chmod(0o755)

    return once(ROOT / "wheels" / f"{name}-{version}", make)
