"""A trace of one command, of which its server's spans are a part."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from prism.adapters.observability.tracing.environment import secrets_in
from prism.domain.redaction import Redactor
from prism.ports import PrismError

if TYPE_CHECKING:
    from prism.adapters.observability.tracing.tracing import Tracing


@contextmanager
def traced(command: str, exporter: str | None) -> Iterator[Tracing]:
    """What is done in this context is one trace, which is exported at its end.

    Args:
        command: such as `prism kv get`.
        exporter: where to; a command prints spans on stderr, because its result is
            what goes to stdout.
    """
    from opentelemetry.trace import Status, StatusCode

    from prism.adapters.observability.tracing.tracing import Tracing

    tracing = Tracing(
        version=version("prism"),
        exporter=exporter,
        ratio=None,
        out=sys.stderr,
        redact=Redactor(secrets_in(os.environ)),
    )
    tracing.open()
    try:
        with tracing.tracer.start_as_current_span(
            command, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield tracing
            except PrismError as error:
                span.set_attribute("error.type", error.reason)
                span.set_status(Status(StatusCode.ERROR, error.message))
                raise
    finally:
        asyncio.run(tracing.close())
