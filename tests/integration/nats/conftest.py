"""Fixtures that run the driver against real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import nats
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from prism.adapters.nats import DRIVER
from prism.testing import Backend
from prism.testing.levels import in_process
from tests.servers.nats import NatsServer

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Backend]]


def _open(url: str, **settings: str) -> AbstractAsyncContextManager[Backend]:
    return in_process(DRIVER, {"url": url, **settings})()


@pytest.fixture(scope="session")
def open_nats() -> Open:
    """Function that initializes and starts the driver on a URL, with settings as text."""
    return _open


@pytest.fixture
def own_server() -> Iterator[NatsServer]:
    """Server that the test may stop and change."""
    with NatsServer() as server:
        yield server


@pytest.fixture
async def client(own_server: NatsServer) -> AsyncIterator[Client]:
    """Plain nats-py client of that server."""
    client = await nats.connect(own_server.url, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def jetstream(client: Client) -> JetStreamContext:
    return client.jetstream()
