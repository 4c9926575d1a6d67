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
    """The environment of whoever exports to the collector, and soon."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "PRISM_ENABLE_TRACING": "true",
        "PRISM_TRACE_EXPORTER": "otlp",
    }


@pytest.fixture
def start_traced(start_server: Callable[..., Any], export: dict[str, str]) -> Callable[..., Any]:
    """Start a server that exports to the collector."""

    def start(*args: str, **env: str) -> Any:
        return start_server(*args, env={**export, **env}).serving()

    return start


@pytest.fixture
def prism_cli() -> Prism:
    """Run `prism` against the server at an address."""

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
