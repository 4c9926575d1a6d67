"""The example driver as a third party installs it: from wheels."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prism
from tests.integration.outsiders.conftest import EXAMPLE, ROOT, Outside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("outsiders")]

MAINS = {
    "prism.bootstrap": ("-m", "prism.bootstrap", "--driver", "files", "--grpc-port", "0"),
    "prism_driver_files": ("-m", "prism_driver_files"),
}


@contextmanager
def served(outside: Outside, *args: str) -> Iterator[str]:
    """Serve the driver; yield the address, then stop it with SIGTERM and check its exit status."""
    process = subprocess.Popen(
        [str(outside.python), *args, "--metrics-port", "0"],
        cwd=outside.folder,
        env=outside.env,
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
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("main", MAINS.values(), ids=MAINS.keys())
async def test_the_driver_is_served_and_keeps_its_keys_over_a_restart(
    outside: Outside, tmp_path: Path, main: tuple[str, ...]
) -> None:
    for expected in (None, b"value"):
        with served(outside, *main, "--files-path", str(tmp_path)) as address:
            async with prism.connect(address) as kv:
                assert kv.profile.driver == "files"
                entry = await kv.get("key")
                assert (entry and entry.value) == expected
                await kv.set("key", b"value")


def test_prism_drivers_lists_the_driver(outside: Outside) -> None:
    program = "from prism.cli import main; main()"
    drivers = json.loads(outside.run("-c", program, "drivers", "--json").stdout)["drivers"]
    (found,) = [driver for driver in drivers if driver["name"] == "files"]
    assert found["package"] == "prism-driver-files"
    assert set(found["capabilities"]) == {"ttl", "scan"}


def test_the_acceptance_suite_passes(outside: Outside) -> None:
    tests = outside.folder / "tests"
    shutil.copytree(EXAMPLE / "tests", tests, dirs_exist_ok=True)
    shutil.copy(EXAMPLE / "pyproject.toml", outside.folder)
    # Prism's own drivers show that the levels agree; here it is enough that a proxy serves
    # what the driver has: the rest runs in process.
    chosen = "TestInProcess or test_folder or (TestThroughProxy and (expired or scan))"
    pytest_run = outside.run("-m", "pytest", "-q", "tests", "-k", chosen)
    summary = pytest_run.stdout.splitlines()[-1]
    assert "passed" in summary
    assert "failed" not in summary


def test_the_main_module_has_at_most_25_lines() -> None:
    main = EXAMPLE / "src" / "prism_driver_files" / "__main__.py"
    assert len(main.read_text().splitlines()) <= 25


def test_prism_does_not_name_the_driver() -> None:
    sources = (ROOT / "src").rglob("*.py")
    assert not [path for path in sources if "prism_driver_files" in path.read_text()]
