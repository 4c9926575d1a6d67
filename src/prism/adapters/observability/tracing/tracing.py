"""All traces of a process: sampling, spans and their export, put together."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import IO, Never, TypeVar, cast
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION

from prism.adapters.observability.tracing.environment import (
    exporter_of,
    ratio_of,
    warn_about_protocol,
)
from prism.adapters.observability.tracing.operations import (
    TracedOperations,
    database_spans,
    rpc_spans,
)
from prism.adapters.observability.tracing.otel_log_throttle import OtelLogThrottle
from prism.adapters.observability.tracing.requests import RequestSpans, current_request_span
from prism.adapters.observability.tracing.spans import RedactingExporter, SpanRecorder
from prism.domain.redaction import Redact
from prism.ports import Driver, InvalidArgument

log = logging.getLogger(__name__)

Client = TypeVar("Client")

FLUSH_TIMEOUT = timedelta(seconds=2)
"""Time to export the last spans when the process ends."""

# Still in development, and so in no stable module of the conventions.
_SERVICE_INSTANCE_ID = "service.instance.id"


class Tracing:
    """Tracing of one process; exports nothing before `open`.

    Args:
        version: version of the service.
        exporter: value of `--trace-exporter`, which overrides the standard variables.
        ratio: value of `--trace-ratio`, which overrides the standard variables.
        out: where the exporter `stdout` writes spans.
        redact: removes secrets from spans and warnings.

    Attributes:
        tracer: tracer for spans outside requests.
        requests: observer of calls that gives them spans.
    """

    def __init__(
        self,
        *,
        version: str,
        exporter: str | None,
        ratio: float | None,
        out: IO[str],
        redact: Redact,
    ) -> None:
        self._exporter_option = exporter
        self._out = out
        self._redact = redact
        resource = _resource(version)
        ratio = ratio_of(ratio, os.environ)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=resource,
            # `close` shuts down within a time limit, after the servers.
            shutdown_on_exit=False,
        )
        self.tracer = self._provider.get_tracer("prism", version)
        self._recorder = SpanRecorder(resource, InstrumentationScope("prism", version))
        self.requests = RequestSpans(self._recorder, ratio)
        self._log_throttle = OtelLogThrottle(redact)
        self._exporter: SpanExporter | None = None

    def around_driver(self, driver: Driver[Never], system: str) -> Driver[Never]:
        """Return the driver with its operations traced.

        Args:
            system: kind of backend, such as `redis`.
        """
        traced = TracedOperations(
            driver, self._recorder, database_spans(system), current_request_span
        )
        self.requests.switch(traced)
        return cast("Driver[Never]", traced)

    def around_pattern(self, driver: Driver[Never], address: str) -> Driver[Never]:
        """Return a proxy's driver of the pattern at this address, with its calls traced."""
        traced = TracedOperations(driver, self._recorder, rpc_spans(address), current_request_span)
        return cast("Driver[Never]", traced)

    def around_client(self, client: Client, address: str) -> Client:
        """Return the client of the server at this address, with its calls traced."""
        return cast("Client", TracedOperations(client, self._recorder, rpc_spans(address)))

    def open(self) -> None:
        """Start to export spans, including those of the driver's libraries.

        Raises:
            InvalidArgument: the exporter rejects the value of a standard variable.
        """
        self._log_throttle.open()
        try:
            exporter = self._make_exporter()
            if exporter is not None:
                processor = BatchSpanProcessor(exporter)
                self._provider.add_span_processor(processor)
                self._recorder.use(processor)
        except Exception as error:
            self._log_throttle.close()
            raise InvalidArgument(
                f"cannot set up the trace exporter; check the OTEL_ variables: "
                f"{self._redact(str(error))}"
            ) from error
        self._exporter = exporter
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)

    def none_sampled(self) -> AbstractContextManager[None]:
        """Make tasks created in this context serve unsampled requests; see `RequestSpans`."""
        return self.requests.none_sampled()

    async def close(self) -> None:
        """Export the last spans within `FLUSH_TIMEOUT`, and stop. Never raises."""
        if self._exporter is None:
            self._log_throttle.close()
            return
        exporter, self._exporter = self._exporter, None
        flushed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def flush() -> None:
            with suppress(RuntimeError):  # the loop has been closed
                try:
                    self._provider.shutdown()
                finally:
                    # Not before: an interrupted export logs a warning too.
                    self._log_throttle.close()
                    loop.call_soon_threadsafe(flushed.set)

        # A thread of its own, because closing the loop waits for the threads of its pool.
        threading.Thread(target=flush, name="prism-traces-flush", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT.total_seconds()):
                await flushed.wait()
        except TimeoutError:
            # Interrupts the export that `flush` waits for.
            exporter.shutdown()
            seconds = FLUSH_TIMEOUT.total_seconds()
            log.warning("traces not exported within %.3g s are lost", seconds)
        else:
            log.info("all traces are exported")

    def _make_exporter(self) -> SpanExporter | None:
        kind = exporter_of(self._exporter_option, os.environ)
        if kind == "none":
            return None
        if kind == "stdout":
            console = ConsoleSpanExporter(out=self._out, formatter=_line)
            return RedactingExporter(console, self._redact)
        warn_about_protocol(os.environ)
        # Imported here, because it loads grpcio, which a server on h2corn does not need.
        from prism.adapters.observability.tracing.otlp import OtlpExporter

        return OtlpExporter(self._redact)


def _resource(version: str) -> Resource:
    """Return the resource; the standard variables override Prism's own attributes."""
    own = {
        SERVICE_NAME: "prism",
        SERVICE_VERSION: version,
        _SERVICE_INSTANCE_ID: str(uuid4()),
    }
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
