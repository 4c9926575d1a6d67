"""Prisms of every driver that have done some work, and a Prometheus that saw it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from prism.adapters.client import connect_admin
from tests.integration.conftest import ProxyServer, Server
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.work import Done, do_work, knock
from tests.servers.nats import NatsServer
from tests.servers.process import PATIENCE_S
from tests.servers.redis import RedisServer

# One at a time, so that a burst is shed; bounds, so that how full a store is can be told.
_FLAGS = {
    "memstore": ("--memstore-max-keys", "1000", "--memstore-max-bytes", "1000000"),
    "redis": ("--max-in-flight-per-connection", "1"),
    "nats": (),
}
_POLL_S = 0.1


class Scraped(NamedTuple):
    """What was done to whom, and whom to ask what was seen of it.

    Attributes:
        prisms: one of each driver, `drained`, which serves no more, and a `proxy`.
        done: by driver, or `proxy`.
        refused: operations that `drained` was asked for in vain.
    """

    prometheus: Prometheus
    prisms: dict[str, Server]
    done: dict[str, Done]
    refused: int


@pytest.fixture(scope="session")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with ExitStack() as stack:
        backends: dict[str, RedisServer | NatsServer] = {
            "redis": stack.enter_context(RedisServer()),
            "nats": stack.enter_context(NatsServer()),
        }

        def start(driver: str, *flags: str) -> Server:
            backend = backends.get(driver)
            url = () if backend is None else (f"--{driver}-url", backend.url)
            return _start(stack, tmp_path_factory, "--driver", driver, *url, *flags)

        prisms = {driver: start(driver, *flags) for driver, flags in _FLAGS.items()}
        prisms["drained"] = start("memstore")
        prisms["proxy"] = _start(
            stack, tmp_path_factory, "--pattern", "a=memstore", kind=ProxyServer
        )
        addresses = [prism.metrics_address for prism in prisms.values() if prism.metrics_address]
        prometheus = stack.enter_context(Prometheus(addresses))
        yield _worked(prometheus, prisms)
        for prism in prisms.values():
            prism.stop()


def _start(
    stack: ExitStack, folders: pytest.TempPathFactory, *flags: str, kind: type[Server] = Server
) -> Server:
    folder: Path = folders.mktemp("prism")
    prism = kind(("--grpc-port", "0", "--metrics-port", "0", *flags), {}, folder)
    stack.callback(prism.close)
    return prism.serving()


def _worked(prometheus: Prometheus, prisms: dict[str, Server]) -> Scraped:
    worked = [name for name in prisms if name != "drained"]
    drivers = [name for name in worked if name != "proxy"]
    # Twice, and both seen: a counter that has not grown since it was first seen has no rate.
    done = {name: Done() for name in worked}
    refused = 0
    asyncio.run(_drain(prisms["drained"].address))
    for _ in range(2):
        for name in worked:
            done[name] += asyncio.run(do_work(prisms[name].address))
        refused += knock(prisms["drained"].address)
        _until(lambda: all(_sets(prometheus, each) == done[each].sets for each in worked))
    # A health check tells what is stored, and a rule what was recorded, a little later.
    _until(lambda: prometheus.number("count(backend_driver_keys > 0)") == len(drivers))
    recorded = "count(instance:prism_requests:rate5m > 0)"
    _until(lambda: prometheus.number(recorded) >= 2 * len(drivers))
    _until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()))
    return Scraped(prometheus, prisms, done, refused)


def _sets(prometheus: Prometheus, driver: str) -> float:
    asked = f'backend_driver_requests_total{{driver="{driver}", operation="set"}}'
    if driver == "proxy":
        asked = 'prism_pattern_requests_total{operation="set"}'
    return prometheus.number(f"sum({asked})")


async def _drain(address: str) -> None:
    async with connect_admin(address) as admin:
        await admin.lifecycle.drain()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "Prometheus does not see what was done"
        time.sleep(_POLL_S)
