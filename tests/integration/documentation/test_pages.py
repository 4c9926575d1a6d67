"""Every command and program of README and the guides works as written."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.documentation.pages import ROOT, blocks
from tests.integration.documentation.reader import Reader, StartServer
from tests.integration.documentation.shell import Shell
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

GUIDE = "docs/write-a-driver.md"
PAGES = (
    "README.md",
    "docs/quick-start.md",
    "docs/client.md",
    "docs/command-line.md",
    "docs/proxy.md",
    "docs/concurrency.md",
    "docs/access.md",
)

# Programs that an installed environment has; this one has only the libraries.
PROGRAMS = {
    "prism": 'exec python -c "from prism.cli import main; main()" "$@"',
    "pytest": 'exec python -m pytest "$@"',
}


@pytest.fixture
def empty_redis() -> Iterator[RedisServer]:
    """A Redis without the keys of other tests, which the commands of a page would copy."""
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("page", [*PAGES, GUIDE])
def test_every_block_is_a_file_a_shell_block_or_python(page: str) -> None:
    assert [
        block.place
        for block in blocks(page)
        if block.language not in ("sh", "python") and block.file is None
    ] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_works(
    page: str,
    tmp_path: Path,
    start_server: StartServer,
    empty_redis: RedisServer,
    nats_server: NatsServer,
) -> None:
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    other = start_server().serving()
    replacements = {
        "redis://127.0.0.1:6379": f"redis://127.0.0.1:{empty_redis.port}",
        "nats://127.0.0.1:4222": nats_server.url,
        "other-host:9090": other.address,
        "--duration 10s": "--duration 1s",
    }
    with Shell(tmp_path, {}) as shell:
        reader = Reader(tmp_path, start_server, shell, replacements)
        for block in blocks(page):
            reader.read(block)


@pytest.mark.timeout(300)
def test_the_guide_builds_a_package_that_is_tested_and_served(
    tmp_path: Path, start_server: StartServer
) -> None:
    """The venv of the guide finds Prism and its dependencies here, so nothing is downloaded."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    installed = f"{ROOT / 'src'}:{sysconfig.get_path('purelib')}"
    env = {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": installed,
        "PIP_NO_INDEX": "1",
        # The whole suite runs in outsiders/test_guide.py.
        "PYTEST_ADDOPTS": "-k 'TestInProcess and test_get'",
    }
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    theirs = tmp_path / ".venv" / "lib" / python / "site-packages"
    driver = {"PYTHONPATH": f"{tmp_path / 'src'}:{theirs}:{installed}"}
    replacements = {
        "pip install --editable": "pip install --no-build-isolation --editable",
        "/path/to/prism[testing]": "prism-kv[testing]",
        "/path/to/prism/": f"{ROOT}/",
    }
    with Shell(tmp_path, env) as shell:
        reader = Reader(tmp_path, start_server, shell, replacements, driver)
        # Other Python blocks quote the example.
        for block in blocks(GUIDE):
            if block.language == "sh" or block.file is not None:
                reader.read(block)
    for folder in ("keys", "keys-with-ttl"):
        assert [file for file in (tmp_path / folder).iterdir() if file.name != ".prism"]
