"""Fixtures: servers of the driver on a file in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import Server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prism.db"


@pytest.fixture
def serve(start_server: Callable[..., Server], path: Path) -> Callable[..., Server]:
    """Function that starts a server on the file, without waiting until it serves."""

    def start(*flags: str) -> Server:
        return start_server("--driver", "sqlite", "--sqlite-path", str(path), *flags)

    return start
