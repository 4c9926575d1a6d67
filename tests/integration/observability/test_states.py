"""`/health`, `/ready`, `/metrics` and the gRPC health service in every state of the driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from prism.bootstrap import discovery
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings
from prism.ports import BackendUnavailable
from tests.integration.conftest import serving_status
from tests.integration.observability.conftest import Deployed, Get

HEALTHY = {"status": "healthy"}
READY = {"status": "ready"}


class CommandedServer:
    """HTTP server of a driver that the test commands."""

    def __init__(self, container: Container) -> None:
        self.lifecycle = container.lifecycle()
        self.http = container.common.http_server()

    async def start(self) -> None:
        assert self.http is not None
        self.address = await self.http.start()


@pytest.fixture
async def commanded(deployed: Deployed) -> AsyncIterator[CommandedServer]:
    settings = ServeSettings(driver=deployed.driver, metrics_port=0)
    spec = discovery.load(deployed.driver)
    commanded = CommandedServer(
        Container(configuration=Configuration(settings, spec, deployed.settings))
    )
    await commanded.start()
    yield commanded
    await commanded.lifecycle.stop()
    assert commanded.http is not None
    await commanded.http.stop()


async def test_every_endpoint_answers_in_every_state(
    commanded: CommandedServer,
    deployed: Deployed,
    get: Get,
    in_thread: Callable[..., Any],
) -> None:
    async def check(state: str, *, ready: bool = False) -> None:
        health = await in_thread(get, commanded.address, "/health")
        assert (health.status, health.json) == (200, HEALTHY)
        answer = await in_thread(get, commanded.address, "/ready")
        reason = f"the driver is {state}"
        not_ready = {"status": "not ready", "state": state, "reason": reason}
        assert (answer.status, answer.json) == ((200, READY) if ready else (503, not_ready))
        metrics = await in_thread(get, commanded.address, "/metrics")
        assert metrics.status == 200
        assert f'prism_lifecycle_state{{state="{state}"}} 1.0' in metrics.text
        assert f"prism_ready {float(ready)}" in metrics.text

    await check("created")
    await commanded.lifecycle.initialize(deployed.settings)
    await check("initialized")
    await commanded.lifecycle.start()
    await check("running", ready=True)
    await commanded.lifecycle.drain()
    await check("draining")
    await commanded.lifecycle.stop()
    await check("stopped")


async def test_a_failed_driver_is_not_ready(
    get: Get, in_thread: Callable[..., Any], free_address: str
) -> None:
    settings = ServeSettings(driver="redis", metrics_port=0)
    texts = {"url": f"redis://{free_address}"}
    commanded = CommandedServer(
        Container(configuration=Configuration(settings, discovery.load("redis"), texts))
    )
    await commanded.start()
    with pytest.raises(BackendUnavailable):
        await commanded.lifecycle.initialize(texts)
    assert (await in_thread(get, commanded.address, "/health")).json == HEALTHY
    answer = await in_thread(get, commanded.address, "/ready")
    assert (answer.status, answer.json["state"]) == (503, "failed")
    await commanded.lifecycle.stop()
    assert commanded.http is not None
    await commanded.http.stop()


@pytest.mark.parametrize("deployed", ["redis", "nats"], indirect=True)
async def test_a_hanging_backend_makes_the_server_not_ready_until_it_recovers(
    deployed: Deployed, start_server: Any, get: Get, until: Callable[..., Any]
) -> None:
    server = start_server(*deployed.flags).serving()
    address = server.metrics_address
    assert get(address, "/ready").status == 200
    backend: Any = deployed.server
    await backend.pause()
    try:
        await until(lambda: get(address, "/ready").status == 503)
        reply = get(address, "/ready").json
        assert (reply["status"], reply["state"]) == ("not ready", "running")
        assert reply["reason"]
        assert get(address, "/health").json == HEALTHY
        assert await serving_status(server.address) == "NOT_SERVING"
        assert "prism_ready 0.0" in get(address, "/metrics").text
    finally:
        await backend.resume()
    await until(lambda: get(address, "/ready").status == 200)
    assert await serving_status(server.address) == "SERVING"
