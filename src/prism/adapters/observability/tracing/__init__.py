"""Traces through OpenTelemetry, which is imported only when tracing is on.

https://opentelemetry.io/docs/specs/semconv/
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from prism.adapters.observability.tracing.environment import is_disabled
from prism.domain.redaction import Redact
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
    from prism.adapters.observability.tracing.tracing import Tracing

    return Tracing(version=VERSION, exporter=exporter, ratio=ratio, out=sys.stdout, redact=redact)
