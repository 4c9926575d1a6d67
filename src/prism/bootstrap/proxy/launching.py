"""How the processes of patterns are launched."""

from __future__ import annotations

from collections.abc import Iterator

from prism.adapters.process import LaunchOptions
from prism.bootstrap.proxy.folder import PrivateFolder
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.redaction import Redactor
from prism.domain.settings import to_text

CONTROL_SOCKET = "control.sock"

# A pattern is told of what was given up here a moment later, which needs a place meanwhile.
_ROOM = 2


def launch_options(
    settings: ProxySettings, folder: PrivateFolder, redactor: Redactor
) -> LaunchOptions:
    """Of processes that call back to the socket in the folder."""
    return LaunchOptions(
        proxy_address=f"unix:{folder.path / CONTROL_SOCKET}",
        folder=folder.path,
        flags=tuple(_flags(settings)),
        redact=redactor,
    )


def _flags(settings: ProxySettings) -> Iterator[str]:
    """What is the proxy's own as well: how it is observed, and what it lets in."""
    in_flight = str(_ROOM * settings.max_in_flight)
    # All callers of the proxy come by its one connection.
    yield from ("--max-in-flight", in_flight, "--max-in-flight-per-connection", in_flight)
    yield from ("--max-watches", str(settings.max_watches))
    yield from ("--max-message-bytes", str(settings.max_message_bytes))
    yield from ("--transport", settings.transport)
    yield from ("--slow-request", to_text(settings.slow_request))
    if not settings.metrics:
        yield "--no-metrics"
    if settings.debug:
        yield "--debug"
    if settings.enable_tracing:
        yield "--enable-tracing"
    if settings.trace_exporter is not None:
        yield from ("--trace-exporter", settings.trace_exporter)
    if settings.trace_ratio is not None:
        yield from ("--trace-ratio", to_text(settings.trace_ratio))
