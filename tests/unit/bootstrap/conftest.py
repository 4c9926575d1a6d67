"""A driver of another package, and the command line that finds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prism.cli import app

# Not yet imported when the test begins, and gone from sys.modules after it.
_MODULE = """
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from prism.ports import Capability, Declaration, DriverSpec, InvalidArgument, Support, setting

@dataclass(frozen=True)
class Settings:
    url: str = setting("fake://localhost", help="Where it is.")
    password: str | None = setting(None, help="What it wants to hear.", secret=True)
    patience: timedelta = setting(timedelta(seconds=5), help="How long to wait.")
    mode: Literal["fast", "safe"] = setting("safe", help="What matters more.")
    deep: bool = setting(False, help="Look twice.")

    def __post_init__(self):
        if self.patience > timedelta(hours=1):
            raise InvalidArgument("patience is more than an hour")

DRIVER = DriverSpec(
    name="fake-kv",
    version="7.1",
    summary="For tests.",
    settings=Settings,
    factory=object,
    capabilities={Capability.TTL: Declaration(), Capability.SCAN: Declaration(Support.EMULATED)},
)
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Function that puts a package with one driver on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def put(
        name: str = "fake-kv",
        *,
        module: str = "fake_kv_driver",
        source: str = _MODULE,
        attribute: str = "DRIVER",
        extra: str = "",
    ) -> Path:
        (folder / f"{module}.py").write_text(source)
        info = folder / f"{module}-7.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 7.1\n")
        entry = f"{name} = {module}:{attribute} {extra}\n"
        (info / "entry_points.txt").write_text(f"[prism.drivers]\n{entry}")
        monkeypatch.delitem(__import__("sys").modules, module, raising=False)
        return folder

    yield put
    import sys

    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def prism(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Function that runs a command in an empty folder, without PRISM_ variables."""
    import os

    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("PRISM_")]:
        monkeypatch.delenv(name)

    def run(*args: str, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, list(args), env=env)

    return run


@pytest.fixture
def shown(prism: Callable[..., Result]) -> Callable[..., dict[str, tuple[Any, str]]]:
    """Function that runs `prism config show --json`; returns value and source by name."""

    def run(*args: str, env: dict[str, str] | None = None) -> dict[str, tuple[Any, str]]:
        result = prism("config", "show", "--json", *args, env=env)
        assert result.exit_code == 0, result.output
        settings = json.loads(result.stdout)["settings"]
        return {s["name"]: (s["value"], s["origin"]) for s in settings}

    return run
