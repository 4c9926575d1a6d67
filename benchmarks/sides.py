"""How each side of a comparison is measured.

A side is opened once: its server is started and its answers are verified. `open` returns a
function that measures the side for a number of seconds each time it is called.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol

from benchmarks import observer, random_gets
from benchmarks.h2load import H2load, Load, VerifyingClient, verify
from benchmarks.processes import (
    CannotRun,
    Cores,
    ServerCommand,
    StartedServer,
    per_processor_second,
    run_module,
    serving,
)
from prism.domain.access.tokens import new_token

Measure = Callable[[float], float]
"""Measures for this many seconds and returns the figure."""


class Backend(AbstractContextManager[object], Protocol):
    """A process beside the server under test; it runs inside the context."""

    @property
    def pid(self) -> int: ...

    @property
    def url(self) -> str: ...


class MeasurementContext:
    """Servers and cores that the sides of one row share.

    Args:
        stack: context that ends the processes.
        cores: cores to use.
    """

    def __init__(self, stack: ExitStack, cores: Cores) -> None:
        self.cores = cores
        self._stack = stack
        self._servers: dict[tuple[ServerCommand, int], StartedServer] = {}
        self._observers: list[int] = []
        self._backends: dict[tuple[int, Callable[[], Backend]], Backend] = {}

    @property
    def pids(self) -> list[int]:
        """Process ids of servers, observers and backends."""
        backends = (backend.pid for backend in self._backends.values())
        return [*(server.pid for server in self._servers.values()), *self._observers, *backends]

    def server(self, command: ServerCommand, keys: int = 0) -> StartedServer:
        """Return the server for this number of keys; the first request starts it."""
        started = self._servers.get((command, keys))
        if started is None:
            started = self._stack.enter_context(serving(command, self.cores.server))
            self._servers[command, keys] = started
        return started

    def observer(self, command: ServerCommand) -> str:
        """Start a process on the load's core and return its address."""
        started = self._stack.enter_context(serving(command, self.cores.load))
        self._observers.append(started.pid)
        return started.address

    def folder(self) -> Path:
        """Return a new folder, which is removed at the end."""
        return Path(self._stack.enter_context(TemporaryDirectory(prefix="prism-bench-")))

    def backend(self, make: Callable[[], Backend]) -> str:
        """Return the URL of the backend; the first request starts it on the load's core."""
        return self._backend_on(self.cores.load, make)

    def backend_in_place_of_server(self, make: Callable[[], Backend]) -> str:
        """Return the URL of the backend; the first request starts it on the server's core."""
        return self._backend_on(self.cores.server, make)

    def _backend_on(self, core: int, make: Callable[[], Backend]) -> str:
        backend = self._backends.get((core, make))
        if backend is None:
            backend = make()
            self._stack.enter_context(backend)
            self._backends[core, make] = backend
            for thread in Path(f"/proc/{backend.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
        return backend.url


class Side(Protocol):
    """One side of a comparison."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> str: ...

    def open(self, context: MeasurementContext) -> Measure: ...


@dataclass(frozen=True, slots=True)
class UnderH2load:
    """A server under h2load: items per second."""

    server: ServerCommand
    load: Load

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; h2load: {self.load}"

    def open(self, context: MeasurementContext) -> Measure:
        address = context.server(self.server).address
        reply_bytes = verify(address, self.load)
        return H2load(address, self.load, reply_bytes, context.cores.load).rate


@dataclass(frozen=True, slots=True)
class PerProcessorSecond:
    """A server under h2load: items per second of the server's processor time.

    Differences of a few percent are lost in the noise of other processes when measured by
    wall-clock time.
    """

    server: ServerCommand
    load: Load

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return (
            f"{self.server.settings}; h2load: {self.load}; "
            "items per second of the server's processor time"
        )

    def open(self, context: MeasurementContext) -> Measure:
        started = context.server(self.server)
        reply_bytes = verify(started.address, self.load)
        load = H2load(started.address, self.load, reply_bytes, context.cores.load)
        return per_processor_second(started.pid, load.rate)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server with a policy of 50 rules, and load by a caller with a token.

    All rules are about the caller, and the last of them is the one that allows its operations.
    """

    side: PerProcessorSecond

    @property
    def name(self) -> str:
        return f"{self.side.name} with a policy"

    @property
    def settings(self) -> str:
        return f"{self.side.settings}; --policy with 50 rules about the caller, --tokens"

    def open(self, context: MeasurementContext) -> Measure:
        folder, (token, line) = context.folder(), new_token("bench")
        prefixes = [f"application-{number}/" for number in range(49)] + ["key:"]
        rule = '[[rules]]\nwho = "token:*"\nmay = ["read", "write"]\nprefixes = "{}"\n'
        (folder / "policy.toml").write_text("".join(map(rule.format, prefixes)))
        (folder / "tokens").write_text(line)
        files = ("--policy", str(folder / "policy.toml"), "--tokens", str(folder / "tokens"))
        server = self.side.server
        server = replace(server, arguments=(*server.arguments, *files))
        return replace(self.side, server=server, load=replace(self.side.load, token=token)).open(
            context
        )


class OfServer(Side, Protocol):
    """Side that measures one server; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def server(self) -> ServerCommand: ...


@dataclass(frozen=True, slots=True)
class Observed:
    """A server under load while its metrics are scraped and its traces collected."""

    side: OfServer

    @property
    def name(self) -> str:
        return self.side.name

    @property
    def settings(self) -> str:
        return f"{self.side.settings}; scraped every second, traces sent to a collector by OTLP"

    def open(self, context: MeasurementContext) -> Measure:
        metrics_port = str(_free_port())
        address = context.observer(observer_command(metrics_port))
        server = observed_server(address, self.side.server, metrics_port)
        measure = replace(self.side, server=server).open(context)
        total_s = 0.0

        def measure_observed(seconds: float) -> float:
            nonlocal total_s
            total_s += seconds
            figure = measure(seconds)
            _check_observed(address, total_s)
            return figure

        return measure_observed


def observer_command(metrics_port: str) -> ServerCommand:
    """Return the command of an observer of the server with this metrics port."""
    address = f"127.0.0.1:{metrics_port}"
    return ServerCommand("observer", ("-m", "benchmarks.observer", address), "")


def observed_server(address: str, server: ServerCommand, metrics_port: str) -> ServerCommand:
    """Return the server with this metrics port and with its traces sent to the observer."""
    return replace(
        server,
        arguments=(*server.arguments, "--metrics-port", metrics_port),
        environment=(("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{address}"),),
    )


def _check_observed(address: str, seconds: float) -> None:
    """Raise CannotRun unless spans and scrapes reached the observer."""
    spans, scrapes = observer.counts(address)
    # Spans are sent every five seconds at the latest; scrapes begin when the server is up.
    if (seconds > 10 and not spans) or (seconds > 3 and not scrapes):
        raise CannotRun(f"the observer received {spans} spans and {scrapes} scrapes")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Client:
    """A Python client with many callers: gets per second."""

    client: str
    name: str
    settings: str
    server: ServerCommand
    module: str = "benchmarks.callers"

    def open(self, context: MeasurementContext) -> Measure:
        address = context.server(self.server).address
        verify(address)
        return lambda seconds: run_module(
            self.module, self.client, address, str(seconds), core=context.cores.load
        )


@dataclass(frozen=True, slots=True)
class ProxiedClient:
    """A client of a proxy that is alone on its core; the pattern is on the load's core."""

    client: Client

    @property
    def name(self) -> str:
        return self.client.name

    @property
    def settings(self) -> str:
        return f"{self.client.settings}; the pattern is on the core of the load"

    def open(self, context: MeasurementContext) -> Measure:
        context.backend(partial(PatternProcess, context.server(self.client.server).pid))
        return self.client.open(context)


class PatternProcess(AbstractContextManager["PatternProcess"]):
    """The pattern process that a proxy has launched; the proxy ends it."""

    url = ""
    """Empty: only the proxy connects to the pattern."""

    def __init__(self, proxy: int) -> None:
        (self._pid,) = (
            int(pid)
            for thread in Path(f"/proc/{proxy}/task").iterdir()
            for pid in (thread / "children").read_text().split()
        )

    @property
    def pid(self) -> int:
        return self._pid

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True, slots=True)
class RandomGets:
    """A server under gets of random keys: gets per second of the server's processor time."""

    server: ServerCommand
    keys: int

    @property
    def name(self) -> str:
        return f"{self.keys:,} keys"

    @property
    def settings(self) -> str:
        return (
            f"{self.server.settings}; benchmarks.random_gets: 64 in flight, 400,000 different "
            "requests; gets per second of the server's processor time"
        )

    def open(self, context: MeasurementContext) -> Measure:
        started = context.server(self.server, self.keys)
        with VerifyingClient(started.address) as client:
            client.check_writes()
            client.fill([random_gets.key(number) for number in range(self.keys)])
        return per_processor_second(
            started.pid,
            lambda seconds: run_module(
                "benchmarks.random_gets",
                *(started.address, str(self.keys), str(seconds)),
                core=context.cores.load,
            ),
        )


@dataclass(frozen=True, slots=True)
class InProcess:
    """A store in a process of its own: calls per second."""

    store: str
    operation: str
    settings: str

    @property
    def name(self) -> str:
        return f"{self.store} {self.operation}"

    def open(self, context: MeasurementContext) -> Measure:
        return lambda seconds: run_module(
            "benchmarks.stores",
            *(self.store, self.operation, str(seconds / 2)),
            core=context.cores.server,
        )


@dataclass(frozen=True, slots=True)
class StartUp:
    """Start of a server: seconds from process start to serving."""

    server: ServerCommand

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def settings(self) -> str:
        return f"{self.server.settings}; from the start of the process to the event `serving`"

    def open(self, context: MeasurementContext) -> Measure:
        def measure(_: float) -> float:
            with serving(self.server, context.cores.server) as started:
                verify(started.address)
                return started.seconds

        return measure


@dataclass(frozen=True, slots=True)
class MillionKeys:
    """A figure of memstore with a million keys, in a process of its own."""

    figure: str

    @property
    def name(self) -> str:
        return f"memstore, {self.figure}"

    @property
    def settings(self) -> str:
        return "a million random keys of 20 bytes, values of 32; see benchmarks/million_keys.py"

    def open(self, context: MeasurementContext) -> Measure:
        return lambda _: run_module(
            "benchmarks.million_keys", self.figure, core=context.cores.server
        )
