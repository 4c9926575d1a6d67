"""Sides that have a Redis behind them: what is measured is alone on its core."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.processes import Variant, run_module
from benchmarks.sides import Measure, Place, Wire
from benchmarks.wire import Load
from tests.servers.redis import RedisServer

_SERVER = "a redis-server that writes nothing to disk, on the core of the load"


def volatile_redis() -> RedisServer:
    """It keeps nothing, so that no disk is measured."""
    return RedisServer({"appendonly": "no", "notify-keyspace-events": ""})


@dataclass(frozen=True, slots=True)
class RedisCallers:
    """A Python client of Redis: keys a second.

    Attributes:
        load: what `benchmarks.redis_callers` calls it.
    """

    client: str
    load: str
    built: str

    @property
    def name(self) -> str:
        return f"{self.client}, {self.load}"

    @property
    def settings(self) -> str:
        return f"{self.built}, default loop; {_SERVER}"

    def open(self, place: Place) -> Measure:
        url = place.backend(volatile_redis)
        return lambda seconds: run_module(
            "benchmarks.redis_callers",
            *(self.client, self.load, url, str(seconds)),
            core=place.cores.server,
        )


@dataclass(frozen=True, slots=True)
class RedisGateway:
    """A server whose driver is redis, under h2load: items a second."""

    server: Variant
    load: Load

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; h2load: {self.load}; {_SERVER}"

    def open(self, place: Place) -> Measure:
        url = ("--redis-url", place.backend(volatile_redis))
        server = Variant(self.name, (*self.server.arguments, *url), self.server.settings)
        return Wire(server, self.load).open(place)
