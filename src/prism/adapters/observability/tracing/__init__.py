"""Traces through OpenTelemetry, which is imported only when tracing is on.

https://opentelemetry.io/docs/specs/semconv/
"""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, Never

from prism.adapters.observability.tracing.environment import check_components, is_disabled
from prism.domain.redaction import Redact
from prism.ports import Driver, DriverSpec, InvalidArgument
from prism.version import VERSION

if TYPE_CHECKING:
    from prism.adapters.observability.tracing.tracing import Tracing


def tracing_if(
    enabled: bool, *, exporter: str | None, ratio: float | None, redact: Redact
) -> Tracing | None:
    """Return the tracing of a server; None if it is not enabled, or `OTEL_SDK_DISABLED` is set.

    Args:
        exporter, ratio, redact: as for `Tracing`.
    """
    if not enabled or is_disabled(os.environ):
        return None
    return new_tracing(exporter=exporter, ratio=ratio, out=sys.stdout, redact=redact)


def traced(driver: Driver[Never], spec: DriverSpec, tracing: Tracing | None) -> Driver[Never]:
    """Return the driver with spans around its operations; without tracing, the driver itself."""
    return driver if tracing is None else tracing.around_driver(driver, spec.name)


def new_tracing(
    *, exporter: str | None, ratio: float | None, out: IO[str], redact: Redact
) -> Tracing:
    """Return the tracing of a process.

    Args:
        exporter, ratio, out, redact: as for `Tracing`.

    Raises:
        InvalidArgument: OpenTelemetry rejects the value of a standard variable.
    """
    check_components(os.environ)
    try:
        # OpenTelemetry reads its limits when it is imported.
        from prism.adapters.observability.tracing.tracing import Tracing

        return Tracing(version=VERSION, exporter=exporter, ratio=ratio, out=out, redact=redact)
    except ValueError as error:
        raise InvalidArgument(f"an OTEL_ variable is not valid: {error}") from None
