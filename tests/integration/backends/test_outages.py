"""What callers see while the backend's server is down and after it has returned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest

import prism
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    HealthStatus,
    Outcome,
    PrismError,
    State,
)
from tests.integration.backends.conftest import Deploy, Deployment
from tests.integration.test_probes import ask

DEADLINE = timedelta(seconds=1)
"""Of calls to a server that hangs. The timeout of the driver is longer than the limit below."""

WITHIN_S = 15.0
"""Time limit of what takes no longer than a deadline, also on a busy machine."""

PATIENCE = timedelta(seconds=30)
WRITERS = 16
NEWS = 100

Result = TypeVar("Result")


async def failure_of(call: Awaitable[Any]) -> PrismError:
    """What the call raises, long before the driver would give up."""
    began = time.monotonic()
    with pytest.raises(PrismError) as raised:
        await call
    assert time.monotonic() - began < WITHIN_S
    return raised.value


async def recovered(call: Callable[[], Awaitable[Result]]) -> Result:
    """What the call answers, as soon as it does, which is to be soon."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return await call()
        except (BackendUnavailable, BackendTimeout):
            if time.monotonic() > deadline:
                raise


async def test_a_server_that_was_killed_is_missed_and_found_again(deployment: Deployment) -> None:
    async with prism.connect(deployment.prism.address, timeout=PATIENCE, retry=False) as kv:
        await kv.set("key", b"value")
        await deployment.backend.kill()
        for _ in range(3):
            assert isinstance(await failure_of(kv.get("key")), BackendUnavailable)
            assert isinstance(await failure_of(kv.set("key", b"other")), BackendUnavailable)
        assert deployment.cli("kv", "get", "key").returncode == 1
        assert await kv.lifecycle.state() is State.RUNNING
        assert (await kv.lifecycle.health()).status is HealthStatus.UNHEALTHY
        await deployment.backend.start()
        entry = await recovered(lambda: kv.get("key"))
        assert entry is not None
        assert entry.value in (b"value", b"other")
        await recovered(lambda: kv.set("key", b"third"))
        assert (await kv.lifecycle.health()).status is HealthStatus.HEALTHY


@pytest.mark.parametrize("driver", ["redis", "nats"])
async def test_a_server_that_hangs_costs_a_caller_no_more_than_its_deadline(
    deploy: Deploy, driver: str
) -> None:
    deployment = deploy(driver, f"--{driver}-timeout", f"{2 * WITHIN_S:g}s")
    async with prism.connect(deployment.prism.address, timeout=DEADLINE, retry=False) as kv:
        await recovered(lambda: kv.set("key", b"value"))
        await deployment.backend.pause()
        try:
            for call in (
                lambda: kv.get("key"),
                lambda: kv.set("key", b"other"),
                lambda: kv.increment("number"),
            ):
                failure = await failure_of(call())
                assert isinstance(failure, BackendTimeout | BackendUnavailable)
            many = await asyncio.gather(
                *(failure_of(kv.set(f"many/{n}", b"value")) for n in range(100))
            )
            assert {type(failure) for failure in many} <= {BackendTimeout, BackendUnavailable}
        finally:
            await deployment.backend.resume()
        await recovered(lambda: kv.set("key", b"third"))
        assert await recovered(lambda: kv.exists("key")) is True


@pytest.mark.slow
async def test_what_a_failed_write_said_is_true_afterwards(deployment: Deployment) -> None:
    said: dict[str, Outcome | None] = {}
    stop = asyncio.Event()

    async def write(kv: prism.Client, writer: int) -> None:
        number = 0
        while not stop.is_set():
            key = f"{writer}/{number}"
            number += 1
            try:
                await kv.set(key, b"value")
            except PrismError as error:
                said[key] = error.outcome
                await asyncio.sleep(0.01)
            else:
                said[key] = None

    async def more(number: int, like: Callable[[Outcome | None], bool]) -> None:
        begun = sum(map(like, said.values()))
        while sum(map(like, said.values())) < begun + number:
            await asyncio.sleep(0.001)

    async with prism.connect(deployment.prism.address, timeout=DEADLINE, retry=False) as kv:
        writers = [asyncio.create_task(write(kv, number)) for number in range(WRITERS)]
        for _ in range(2):
            await more(NEWS, lambda outcome: outcome is None)
            await deployment.backend.kill()
            await more(NEWS, lambda outcome: outcome is not None)
            await deployment.backend.start()
            await recovered(lambda: kv.set("back", b"again"))
        stop.set()
        await asyncio.gather(*writers)
    async with prism.connect(deployment.prism.address, timeout=PATIENCE) as kv:
        there = {key for key in said if await kv.exists(key)}
    assert {key for key, outcome in said.items() if outcome is None} <= there
    assert not there & {key for key, outcome in said.items() if outcome is Outcome.NOT_APPLIED}


async def test_readiness_follows_the_backend_and_liveness_does_not(
    deployment: Deployment,
) -> None:
    http = deployment.prism.metrics_address
    assert http is not None

    async def until(path: str, status: int) -> Any:
        while True:
            found, body = await asyncio.to_thread(ask, http, path)
            if found == status:
                return body
            await asyncio.sleep(0.05)

    await deployment.backend.kill()
    body = await until("/ready", 503)
    assert body["state"] == "running"
    assert str(deployment.backend.port) in body["reason"]
    assert await asyncio.to_thread(ask, http, "/health") == (200, {"status": "healthy"})
    assert deployment.cli("health").stdout == b"NOT_SERVING\n"
    status = deployment.cli("lifecycle", "status")
    assert status.stdout.startswith(b"running, unhealthy: ")
    await deployment.backend.start()
    await until("/ready", 200)
    assert deployment.cli("health").stdout == b"SERVING\n"
