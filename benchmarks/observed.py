"""What it costs a server that somebody watches: its metrics are scraped, its traces collected."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

import grpc

from benchmarks.peers.observer import SEEN
from benchmarks.processes import CannotRun, Variant
from benchmarks.sides import Measure, PerProcessorSecond, Place


@dataclass(frozen=True, slots=True)
class Observed:
    """A server under h2load that is watched meanwhile, from the load's core."""

    side: PerProcessorSecond

    @property
    def name(self) -> str:
        return self.side.name

    @property
    def settings(self) -> str:
        return f"{self.side.settings}; scraped every second, traces to a collector over OTLP"

    def open(self, place: Place) -> Measure:
        metrics_port = str(_free_port())
        observer = place.watcher(observer_of(metrics_port))
        server = watched_by(observer, self.side.server, metrics_port)
        measure = replace(self.side, server=server).open(place)
        called_s = 0.0

        def watched(seconds: float) -> float:
            nonlocal called_s
            called_s += seconds
            figure = measure(seconds)
            _check(observer, called_s)
            return figure

        return watched


def observer_of(metrics_port: str) -> Variant:
    """A process that will watch the server whose metrics are there."""
    address = f"127.0.0.1:{metrics_port}"
    return Variant("observer", ("-m", "benchmarks.peers.observer", address), "")


def watched_by(observer: str, server: Variant, metrics_port: str) -> Variant:
    """The server, with its metrics where the observer at the address looks for them."""
    return replace(
        server,
        arguments=(*server.arguments, "--metrics-port", metrics_port),
        environment=(("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{observer}"),),
    )


def seen(observer: str) -> tuple[int, int]:
    """Spans and scrapes."""
    with grpc.insecure_channel(observer) as channel:
        ask: Callable[..., bytes] = channel.unary_unary(SEEN)
        spans, scrapes = map(int, ask(b"", timeout=10).split())
    return spans, scrapes


def _check(observer: str, seconds: float) -> None:
    """Raises CannotRun when there is no sign of anything that it should cost."""
    spans, scrapes = seen(observer)
    # Spans leave every five seconds at the latest, and scrapes begin when the server is up.
    if (seconds > 10 and not spans) or (seconds > 3 and not scrapes):
        raise CannotRun(f"{spans} spans and {scrapes} scrapes were seen")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
