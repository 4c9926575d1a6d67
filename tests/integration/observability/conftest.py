"""Drivers with real backends, and a plain HTTP client."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest

from prism.adapters.observability.metrics import exposition
from tests.servers.nats import NatsServer
from tests.servers.process import ServerProcess, free_port
from tests.servers.redis import RedisServer

BACKENDS: dict[str, type[NatsServer | RedisServer] | None] = {
    "memstore": None,
    "redis": RedisServer,
    "nats": NatsServer,
}


class Deployed(NamedTuple):
    """Driver, its settings, and its backend's server if it has one."""

    driver: str
    settings: dict[str, str]
    server: ServerProcess | None

    @property
    def flags(self) -> tuple[str, ...]:
        own = ((f"--{self.driver}-{name}", text) for name, text in self.settings.items())
        flags = (("--driver", self.driver), *own)
        return tuple(part for each in flags for part in each)


@pytest.fixture(params=BACKENDS)
def deployed(request: pytest.FixtureRequest) -> Iterator[Deployed]:
    kind = BACKENDS[request.param]
    with nullcontext() if kind is None else kind() as server:
        yield Deployed(request.param, {} if server is None else {"url": server.url}, server)


class Reply(NamedTuple):
    status: int
    content_type: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def _get(address: str, path: str, accept: str = "") -> Reply:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        kind = response.getheader("content-type") or ""
        return Reply(response.status, kind, response.read().decode())
    finally:
        connection.close()


Get = Callable[..., Reply]


@pytest.fixture(scope="session")
def get() -> Get:
    """Return a function that sends a GET request."""
    return _get


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Return a function that waits for a condition, evaluated in a thread."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def in_thread() -> Callable[..., Any]:
    """Return a function that runs blocking code while servers in this loop go on."""
    return asyncio.to_thread


@pytest.fixture
def free_address() -> str:
    """Return an address where nothing listens."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(autouse=True)
def render_each_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests see changes at once."""
    monkeypatch.setattr(exposition, "_MAX_AGE_S", 0.0)
