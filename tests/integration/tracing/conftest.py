"""Servers that trace, and a collector for what they export."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers.collector import Collector

Prism = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as up:
        yield up


@pytest.fixture
def export(collector: Collector) -> dict[str, str]:
    """Return variables that make a process export to the collector without delay."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "PRISM_ENABLE_TRACING": "true",
        "PRISM_TRACE_EXPORTER": "otlp",
    }


@pytest.fixture
def start_traced(start_server: Callable[..., Any], export: dict[str, str]) -> Callable[..., Any]:
    """Return a function that starts a server which exports to the collector."""

    def start(*args: str, **env: str) -> Any:
        return start_server(*args, env={**export, **env}).serving()

    return start


@pytest.fixture
def prism_cli() -> Prism:
    """Return a function that runs `prism` against a server."""

    def run(address: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from prism.cli import main; main()", *arguments],
            env={**os.environ, "PRISM_ADDRESS": address, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run
