"""Servers under redis-benchmark, which comes with Redis: gets of one key."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import ClassVar

from redis import Redis

from benchmarks.h2load import VALUE
from benchmarks.processes import CannotRun, ServerCommand, processor_seconds, run
from benchmarks.redis import volatile_redis
from benchmarks.sides import Measure, MeasurementContext

# The key that redis-benchmark reads unless it has an option to choose.
_KEY = "key:__rand_int__"

_FIRST = 20_000
"""Gets of the first measurement, which tells how many the others take."""

_SHORT_S = 0.2
"""Seconds of a measurement that only tells how many gets a second takes."""


@dataclass(frozen=True, slots=True)
class Gets:
    """Load by redis-benchmark.

    Attributes:
        connections: number of connections.
        pipeline: gets that each has in flight.
    """

    connections: int
    pipeline: int = 1

    def __str__(self) -> str:
        return f"redis-benchmark -t get -c {self.connections} -P {self.pipeline}"

    def against(self, port: int, core: int) -> Measure:
        """Store the value, verify it, and return a function that measures gets per second.

        Raises:
            CannotRun: redis-benchmark is missing, or the server does not return the value.
        """
        if shutil.which("redis-benchmark") is None:
            raise CannotRun("redis-benchmark is missing: on Debian, install redis-tools")
        with Redis(port=port) as client:
            client.set(_KEY, VALUE)
            if client.get(_KEY) != VALUE:
                raise CannotRun(f"the server at port {port} did not return what was set")
        rate = float(_FIRST)

        def measure(seconds: float) -> float:
            nonlocal rate
            rate = self.rate(port, core, max(_FIRST, int(rate * seconds)))
            return rate

        return measure

    def rate(self, port: int, core: int, count: int) -> float:
        """Send this many gets; return how many were answered per second."""
        options = {"-p": port, "-n": count, "-c": self.connections, "-P": self.pipeline}
        words = [str(word) for option in options.items() for word in option]
        output = run(["redis-benchmark", "-t", "get", "--csv", *words], core)
        last = output.strip().splitlines()[-1].split(",")
        if last[0] != '"GET"':
            raise CannotRun(f"redis-benchmark did not run: {output.strip()[-400:]}")
        return float(last[1].strip('"'))


@dataclass(frozen=True, slots=True)
class ThroughDoor:
    """A Prism server under redis-benchmark: gets per second."""

    server: ServerCommand
    gets: Gets
    remark: ClassVar = ""

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; {self.gets}{self.remark}"

    def open(self, context: MeasurementContext) -> Measure:
        started = context.server(self.server)
        return self.gets.against(started.redis_port, context.cores.load)


@dataclass(frozen=True, slots=True)
class ThroughDoorPerProcessorSecond(ThroughDoor):
    """A Prism server under redis-benchmark: gets per second of the server's processor time."""

    remark: ClassVar = "; gets per second of the server's processor time"

    def open(self, context: MeasurementContext) -> Measure:
        started = context.server(self.server)
        core = context.cores.load
        measure = self.gets.against(started.redis_port, core)

        def per_second_of_processor(seconds: float) -> float:
            count = max(_FIRST, int(measure(_SHORT_S) * seconds))
            before = processor_seconds(started.pid)
            self.gets.rate(started.redis_port, core, count)
            return count / (processor_seconds(started.pid) - before)

        return per_second_of_processor


@dataclass(frozen=True, slots=True)
class ThroughDoorToRedis(ThroughDoor):
    """A Prism server in front of Redis, under redis-benchmark: gets per second."""

    remark: ClassVar = "; its Redis is on the core of the load"

    def open(self, context: MeasurementContext) -> Measure:
        url = ("--redis-url", context.backend(volatile_redis))
        server = replace(self.server, arguments=(*self.server.arguments, *url))
        return ThroughDoor(server, self.gets).open(context)


@dataclass(frozen=True, slots=True)
class RedisItself:
    """Redis under redis-benchmark: gets per second."""

    gets: Gets
    name: str = "Redis"

    @property
    def settings(self) -> str:
        return f"a redis-server that writes nothing to disk, in place of Prism; {self.gets}"

    def open(self, context: MeasurementContext) -> Measure:
        url = context.backend_in_place_of_server(volatile_redis)
        return self.gets.against(int(url.rpartition(":")[2].partition("/")[0]), context.cores.load)
