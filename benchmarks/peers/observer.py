"""A collector of traces and a scraper of metrics: `python -m benchmarks.peers.observer METRICS`.

It takes spans over OTLP, asks METRICS (host:port) for `/metrics` every second, and
tells by gRPC how much of both there was.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from benchmarks.peers.bare import announce

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SEEN = "/benchmarks.Observer/Seen"

_EVERY_S = 1.0


class Observer(grpc.GenericRpcHandler):
    """Counts what it gets, and keeps nothing of it."""

    def __init__(self) -> None:
        self._spans = 0
        self._scrapes = 0

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        answer = {EXPORT: self._export, SEEN: self._seen}.get(details.method)
        return answer and grpc.unary_unary_rpc_method_handler(answer)

    def scrape(self, address: str) -> None:
        """For ever."""
        while True:
            # Its server starts after this one, and may take a while.
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{address}/metrics", timeout=_EVERY_S) as reply,
            ):
                self._scrapes += b"prism_ready" in reply.read()
            time.sleep(_EVERY_S)

    def _export(self, payload: bytes, context: Any) -> bytes:
        for by_resource in ExportTraceServiceRequest.FromString(payload).resource_spans:
            self._spans += sum(len(by_scope.spans) for by_scope in by_resource.scope_spans)
        answer: bytes = ExportTraceServiceResponse().SerializeToString()
        return answer

    def _seen(self, payload: bytes, context: Any) -> bytes:
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
