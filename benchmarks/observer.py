"""Trace collector and metrics scraper: `python -m benchmarks.observer METRICS_ADDRESS`.

It receives spans over OTLP, requests `/metrics` from METRICS_ADDRESS (host:port) every
second, and reports the number of both by gRPC.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from benchmarks.peers import announce

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
COUNTS = "/benchmarks.Observer/Counts"

_INTERVAL_S = 1.0


def counts(observer: str) -> tuple[int, int]:
    """Return the number of spans and of scrapes that the observer at this address has seen."""
    with grpc.insecure_channel(observer) as channel:
        ask: Callable[..., bytes] = channel.unary_unary(COUNTS)
        spans, scrapes = map(int, ask(b"", timeout=10).split())
    return spans, scrapes


class Observer(grpc.GenericRpcHandler):
    """Counts spans and scrapes, and keeps neither."""

    def __init__(self) -> None:
        self._spans = 0
        self._scrapes = 0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = {EXPORT: self._export, COUNTS: self._counts}.get(handler_call_details.method)
        return handler and grpc.unary_unary_rpc_method_handler(handler)

    def scrape(self, address: str) -> None:
        """Request the metrics every second, forever."""
        while True:
            # The server starts after the observer, and may take a while.
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{address}/metrics", timeout=_INTERVAL_S) as reply,
            ):
                self._scrapes += b"prism_ready" in reply.read()
            time.sleep(_INTERVAL_S)

    def _export(self, payload: bytes, context: object) -> bytes:
        for by_resource in ExportTraceServiceRequest.FromString(payload).resource_spans:
            self._spans += sum(len(by_scope.spans) for by_scope in by_resource.scope_spans)
        reply: bytes = ExportTraceServiceResponse().SerializeToString()
        return reply

    def _counts(self, payload: bytes, context: object) -> bytes:
        return f"{self._spans} {self._scrapes}".encode()


def main(metrics_address: str) -> None:
    """Observe until killed."""
    observer = Observer()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[observer])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    announce(f"127.0.0.1:{port}")
    threading.Thread(target=observer.scrape, args=(metrics_address,), daemon=True).start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
