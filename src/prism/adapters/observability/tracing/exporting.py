"""From spans to whoever collects them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from typing import IO, Any, TypeVar, cast
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.service_attributes import SERVICE_NAME, SERVICE_VERSION

from prism.adapters.observability.tracing.complaints import Complaints
from prism.adapters.observability.tracing.environment import (
    exporter_of,
    ratio_of,
    warn_of_protocol,
)
from prism.adapters.observability.tracing.naming import as_database, as_server
from prism.adapters.observability.tracing.operations import TracedOperations
from prism.adapters.observability.tracing.outgoing import Outgoing
from prism.adapters.observability.tracing.requests import RequestSpans, span_of_request
from prism.adapters.observability.tracing.spans import Recorder
from prism.ports import Driver, InvalidArgument

log = logging.getLogger(__name__)

Client = TypeVar("Client")

FLUSH_TIMEOUT = timedelta(seconds=2)
"""For what is not exported yet when the process ends."""

# Still in development, and so in no module that may be relied on.
_SERVICE_INSTANCE_ID = "service.instance.id"


class Tracing:
    """All of a process's traces; nothing is opened before `open`.

    Args:
        version: of the service.
        exporter: an option's word, which goes before the standard variables.
        ratio: likewise, of the traces that begin here.
        out: where spans are printed, if that is what is asked for.
        redact: hides secrets in text.

    Attributes:
        tracer: begins spans that are no request's.
        requests: observes calls.
    """

    def __init__(
        self,
        *,
        version: str,
        exporter: str | None,
        ratio: float | None,
        out: IO[str],
        redact: Callable[[str], str],
    ) -> None:
        self._named = exporter
        self._out = out
        self._redact = redact
        resource = _resource(version)
        ratio = ratio_of(ratio, os.environ)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=resource,
            # Ours is bounded, and in order.
            shutdown_on_exit=False,
        )
        self.tracer = self._provider.get_tracer("prism", version)
        self._recorder = Recorder(resource, InstrumentationScope("prism", version))
        self.requests = RequestSpans(self._recorder, ratio)
        self._complaints = Complaints(redact)
        self._exporter: SpanExporter | None = None

    def around_driver(self, driver: Driver[Any], system: str) -> Driver[Any]:
        """The driver with its operations traced.

        Args:
            system: name of the backend's kind.
        """
        traced = TracedOperations(driver, self._recorder, as_database(system), span_of_request)
        self.requests.tell(traced)
        return cast("Driver[Any]", traced)

    def around_pattern(self, driver: Driver[Any], address: str) -> Driver[Any]:
        """What calls the pattern at the address on behalf of requests, with these traced."""
        system = as_server(address)
        return cast(
            "Driver[Any]", TracedOperations(driver, self._recorder, system, span_of_request)
        )

    def around_client(self, client: Client, address: str) -> Client:
        """The client of a server at the address with its operations traced."""
        return cast("Client", TracedOperations(client, self._recorder, as_server(address)))

    def open(self) -> None:
        """Export from now on, also what the libraries of a driver trace by themselves.

        Raises:
            InvalidArgument: a standard variable makes no sense to the exporter.
        """
        self._complaints.open()
        try:
            exporter = self._make_exporter(exporter_of(self._named, os.environ))
            if exporter is not None:
                processor = BatchSpanProcessor(exporter)
                self._provider.add_span_processor(processor)
                self._recorder.hand_to(processor)
        except Exception as error:
            self._complaints.close()
            raise InvalidArgument(
                f"the exporter of traces cannot be made of what OTEL_… variables say: "
                f"{self._redact(str(error))}"
            ) from error
        self._exporter = exporter
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)

    def _make_exporter(self, name: str) -> SpanExporter | None:
        if name == "none":
            return None
        if name == "stdout":
            return Outgoing(ConsoleSpanExporter(out=self._out, formatter=_line), self._redact)
        warn_of_protocol(os.environ)
        # It brings grpcio, which a server on h2corn has no other use for.
        from prism.adapters.observability.tracing.otlp import OtlpExporter

        return OtlpExporter(self._redact)

    def none_sampled(self) -> AbstractContextManager[None]:
        """Tasks begun in this context work for requests that are not sampled, unless told so."""
        return self.requests.none_sampled()

    async def close(self) -> None:
        """Export what is left, for as long as `FLUSH_TIMEOUT`, and end. Never raises."""
        if self._exporter is None:
            self._complaints.close()
            return
        exporter, self._exporter = self._exporter, None
        flushed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def flush() -> None:
            with suppress(RuntimeError):  # nobody waits any more
                try:
                    self._provider.shutdown()
                finally:
                    # Not before: what it is interrupted in, it complains about too.
                    self._complaints.close()
                    loop.call_soon_threadsafe(flushed.set)

        # One of its own: the loop's threads are waited for when it closes.
        threading.Thread(target=flush, name="prism-traces-flush", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT.total_seconds()):
                await flushed.wait()
        except TimeoutError:
            # Which also ends what it is waiting for.
            exporter.shutdown()
            seconds = FLUSH_TIMEOUT.total_seconds()
            log.warning("traces that were not exported within %.3g s are lost", seconds)
        else:
            log.info("traces are flushed")


def _resource(version: str) -> Resource:
    """The standard variables go before what is ours."""
    ours = {
        SERVICE_NAME: "prism",
        SERVICE_VERSION: version,
        _SERVICE_INSTANCE_ID: str(uuid4()),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"
