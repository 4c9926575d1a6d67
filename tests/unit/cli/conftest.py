"""The command line against a gateway in this process: no socket, no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prism.adapters.memstore import DRIVER
from prism.cli import app
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import Limits

LIMITS = Limits(max_batch_items=10, max_batch_bytes=4096, max_value_bytes=1024, max_page_size=7)


@asynccontextmanager
async def running_gateway() -> AsyncIterator[Gateway]:
    admission = Admission(max_in_flight=100, max_per_connection=100)
    driver = DRIVER.factory()
    machine = LifecycleMachine(driver, DRIVER.settings, admission)
    await machine.initialize({})
    await machine.start()
    yield Gateway(driver, admission, LIMITS)
    await machine.stop()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway() as running:
        yield running


@pytest.fixture
def prism(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Function that runs a command line; all calls of one test share a store."""
    with asyncio.Runner() as runner:
        running = running_gateway()
        store = runner.run(running.__aenter__())

        @asynccontextmanager
        async def connect(address: str, **options: Any) -> AsyncIterator[Gateway]:
            yield store

        monkeypatch.setattr("prism.connect", connect, raising=False)
        monkeypatch.setattr(asyncio, "run", runner.run)

        def invoke(*arguments: str, stdin: bytes | None = None) -> Result:
            return CliRunner().invoke(app, list(arguments), input=stdin)

        yield invoke
        runner.run(running.__aexit__(None, None, None))
