"""Servers of every driver after some load, scraped by a real Prometheus."""

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
from tests.monitoring.work import Done, do_work, send_refused
from tests.servers.nats import NatsServer
from tests.servers.process import TIMEOUT_S
from tests.servers.redis import RedisServer

# A limit of one in flight, so that a burst is shed; limits of the store, which have metrics.
_FLAGS = {
    "memstore": (
        "--memstore-max-keys",
        "1000",
        "--memstore-max-bytes",
        "1000000",
        "--resp-port",
        "0",
    ),
    "redis": ("--max-in-flight-per-connection", "1"),
    "nats": (),
}
_POLL_S = 0.1


class Scraped(NamedTuple):
    """Servers, their load, and the Prometheus that scraped them.

    Attributes:
        prisms: one server per driver, a drained one (`drained`), and a proxy (`proxy`).
        done: load by driver, or `proxy`.
        refused: number of operations that `drained` refused.
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
        yield _put_under_load(prometheus, prisms)
        for prism in prisms.values():
            prism.stop()


def _start(
    stack: ExitStack, folders: pytest.TempPathFactory, *flags: str, kind: type[Server] = Server
) -> Server:
    folder: Path = folders.mktemp("prism")
    prism = kind(("--grpc-port", "0", "--metrics-port", "0", *flags), {}, folder)
    stack.callback(prism.close)
    return prism.serving()


def _put_under_load(prometheus: Prometheus, prisms: dict[str, Server]) -> Scraped:
    loaded = [name for name in prisms if name != "drained"]
    drivers = [name for name in loaded if name != "proxy"]
    # Twice, each time scraped: a counter has a rate once it has grown between two scrapes.
    done = {name: Done() for name in loaded}
    refused = 0
    asyncio.run(_drain(prisms["drained"].address))
    for _ in range(2):
        for name in loaded:
            done[name] += asyncio.run(do_work(prisms[name].address))
        refused += send_refused(prisms["drained"].address)
        _until(lambda: all(_sets(prometheus, each) == done[each].sets for each in loaded))
    # Health checks and recording rules follow a little later.
    _until(lambda: prometheus.number("count(backend_driver_keys > 0)") == len(drivers))
    recorded = "count(instance:prism_requests:rate5m > 0)"
    _until(lambda: prometheus.number(recorded) >= 2 * len(drivers))
    _until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()))
    return Scraped(prometheus, prisms, done, refused)


def _sets(prometheus: Prometheus, driver: str) -> float:
    requests = f'backend_driver_requests_total{{driver="{driver}", operation="set"}}'
    if driver == "proxy":
        requests = 'prism_pattern_requests_total{operation="set"}'
    return prometheus.number(f"sum({requests})")


async def _drain(address: str) -> None:
    async with connect_admin(address) as admin:
        await admin.lifecycle.drain()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "Prometheus has not scraped the load"
        time.sleep(_POLL_S)
