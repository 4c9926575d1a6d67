"""Fixtures that launch small scripts as patterns, and record what is logged."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from prism.adapters.process import LaunchOptions, ProcessLauncher
from prism.adapters.process.process import LaunchedProcess
from prism.domain.patterns.values import PatternSpec

TOKEN = "a-token-of-one-launch"

Launch = Callable[..., Awaitable[LaunchedProcess]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server runs on uvloop, which implements pipes itself."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    launched: list[LaunchedProcess] = []

    async def start(script: str, name: str = "sessions", **options: Any) -> LaunchedProcess:
        given: dict[str, Any] = {
            "proxy_address": "unix:/nowhere/control.sock",
            "socket_dir": tmp_path,
            "command": (sys.executable, "-c", script),
        }
        launcher = ProcessLauncher(LaunchOptions(**given | options))
        launched.append(await launcher.launch(PatternSpec(name, "memstore"), TOKEN))
        return launched[-1]

    yield start
    for process in launched:
        process.kill()
        await process.wait()


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    async def until(self, *messages: str) -> None:
        async with asyncio.timeout(20):
            while not set(messages) <= set(self.messages):
                await asyncio.sleep(0.005)


@pytest.fixture
def records() -> Iterator[Records]:
    """Records logged during the test."""
    handler = Records()
    logger = logging.getLogger("prism")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate
