"""How one side of a row is measured.

A side is opened once: its server is started and its answers are verified. What
opening it returns measures it for so many seconds, each time it is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import raw
from benchmarks.others import per_processor_second
from benchmarks.processes import Cores, Started, Variant, run_module, serving
from benchmarks.wire import H2load, Load, StockClient, verify

Measure = Callable[[float], float]
"""Takes seconds to spend, and returns the figure."""


class Backend(AbstractContextManager[object], Protocol):
    """A store with a server of its own, which is up inside of the context."""

    @property
    def pid(self) -> int: ...

    @property
    def url(self) -> str: ...


class Place:
    """Where the sides of one row are measured: they share servers, and the cores."""

    def __init__(self, stack: ExitStack, cores: Cores) -> None:
        self.cores = cores
        self._stack = stack
        self._started: dict[tuple[Variant, int], Started] = {}
        self._watchers: list[int] = []
        self._backends: dict[Callable[[], Backend], Backend] = {}

    @property
    def pids(self) -> list[int]:
        """Of the servers that run, of who watches them, and of what is behind them."""
        backends = (backend.pid for backend in self._backends.values())
        return [*(started.pid for started in self._started.values()), *self._watchers, *backends]

    def server(self, variant: Variant, keys: int = 0) -> str:
        """The address of a server with so many keys; started when first asked for."""
        return self.started(variant, keys).address

    def started(self, variant: Variant, keys: int = 0) -> Started:
        """The same, and its process."""
        started = self._started.get((variant, keys))
        if started is None:
            started = self._stack.enter_context(serving(variant, self.cores.server))
            self._started[variant, keys] = started
        return started

    def watcher(self, variant: Variant) -> str:
        """The address of a process that runs beside the load."""
        started = self._stack.enter_context(serving(variant, self.cores.load))
        self._watchers.append(started.pid)
        return started.address

    def backend(self, make: Callable[[], Backend]) -> str:
        """The URL of what it makes; started beside the load when first asked for."""
        backend = self._backends.get(make)
        if backend is None:
            backend = make()
            self._stack.enter_context(backend)
            self._backends[make] = backend
            for thread in Path(f"/proc/{backend.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {self.cores.load})
        return backend.url


class Side(Protocol):
    """See the module."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> str: ...

    def open(self, place: Place) -> Measure: ...


@dataclass(frozen=True, slots=True)
class Wire:
    """A server under h2load: items a second."""

    server: Variant
    load: Load

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; h2load: {self.load}"

    def open(self, place: Place) -> Measure:
        address = place.server(self.server)
        reply_bytes = verify(address, self.load)
        return H2load(address, self.load, reply_bytes, place.cores.load).rate


@dataclass(frozen=True, slots=True)
class PerProcessorSecond:
    """A server under h2load: items for each second of processor time that it takes.

    A few hundredths are to be told apart, and by the clock they drown in what other
    processes do.
    """

    server: Variant
    load: Load

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return (
            f"{self.server.settings}; h2load: {self.load}; "
            "items for a second of the server's processor time"
        )

    def open(self, place: Place) -> Measure:
        started = place.started(self.server)
        reply_bytes = verify(started.address, self.load)
        load = H2load(started.address, self.load, reply_bytes, place.cores.load)
        return per_processor_second(started.pid, load.rate)


@dataclass(frozen=True, slots=True)
class Client:
    """A Python client with 64 callers: gets a second."""

    client: str
    name: str
    settings: str
    server: Variant

    def open(self, place: Place) -> Measure:
        address = place.server(self.server)
        verify(address)
        return lambda seconds: run_module(
            "benchmarks.callers", self.client, address, str(seconds), core=place.cores.load
        )


@dataclass(frozen=True, slots=True)
class RandomGets:
    """A server that holds so many keys, asked for them at random: gets for a second of its
    processor time."""

    server: Variant
    keys: int

    @property
    def name(self) -> str:
        return f"{self.keys:,} keys"

    @property
    def settings(self) -> str:
        return (
            f"{self.server.settings}; benchmarks.raw: 64 in flight, 400,000 requests in turn; "
            "gets for a second of the server's processor time"
        )

    def open(self, place: Place) -> Measure:
        started = place.started(self.server, self.keys)
        address = started.address
        with StockClient(address) as client:
            client.check_writes()
            client.fill([raw.key(number) for number in range(self.keys)])
        return per_processor_second(
            started.pid,
            lambda seconds: run_module(
                "benchmarks.raw", address, str(self.keys), str(seconds), core=place.cores.load
            ),
        )


@dataclass(frozen=True, slots=True)
class InProcess:
    """A store in a process of its own, which verifies it: calls a second."""

    store: str
    operation: str
    settings: str

    @property
    def name(self) -> str:
        return f"{self.store} {self.operation}"

    def open(self, place: Place) -> Measure:
        return lambda seconds: run_module(
            "benchmarks.stores",
            *(self.store, self.operation, str(seconds / 2)),
            core=place.cores.server,
        )


@dataclass(frozen=True, slots=True)
class StartUp:
    """A server from nothing until it serves: seconds."""

    server: Variant

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; from the fork to the event `serving`"

    def open(self, place: Place) -> Measure:
        def measure(_: float) -> float:
            starting: AbstractContextManager[Started] = serving(self.server, place.cores.server)
            with starting as started:
                verify(started.address)
                return started.seconds

        return measure


@dataclass(frozen=True, slots=True)
class Flat:
    """What a million keys cost memstore, in a process of their own."""

    figure: str

    @property
    def name(self) -> str:
        return f"memstore, {self.figure}"

    @property
    def settings(self) -> str:
        return "a million random keys of 20 bytes, values of 32; see benchmarks/flat.py"

    def open(self, place: Place) -> Measure:
        return lambda _: run_module("benchmarks.flat", self.figure, core=place.cores.server)
