"""Processes of a proxy's patterns: their command line, and the drivers that reach them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Never

from prism.adapters.grpc.servicers.forwarding import forwarded_call
from prism.adapters.process import LaunchOptions
from prism.adapters.remote import open_pattern
from prism.bootstrap.options import server_options
from prism.bootstrap.proxy.server import SocketDir
from prism.bootstrap.proxy.settings import ProxySettings
from prism.bootstrap.settings import LIMITS, OBSERVABILITY
from prism.domain.patterns.ports import OpenDriver
from prism.domain.redaction import Redactor
from prism.domain.settings import to_text
from prism.ports import Driver

if TYPE_CHECKING:
    from prism.adapters.observability.tracing.tracing import Tracing

# A pattern counts a call that was given up until it learns of that, a moment later.
_IN_FLIGHT_FACTOR = 2

# Each process has a port of its own on loopback, and the proxy reads its log lines as JSON.
_OWN = ("metrics_host", "metrics_port", "log_format")


# A pattern asks the policy about its own HTTP port alone.
_ACCESS = (
    *("policy", "tokens"),
    *("jwt_issuer", "jwt_audience", "jwt_keys", "jwt_keys_url", "jwt_algorithms"),
    *("jwt_clock_skew", "jwt_name_claim", "jwt_groups_claim"),
)


def launch_options(
    settings: ProxySettings, socket_dir: SocketDir, redactor: Redactor
) -> LaunchOptions:
    """Return the options of processes that register at the socket in the directory."""
    return LaunchOptions(
        proxy_address=f"unix:{socket_dir.control_socket}",
        socket_dir=socket_dir.path,
        flags=tuple(_flags(settings)),
        redact=redactor,
    )


def _flags(settings: ProxySettings) -> Iterator[str]:
    """Yield the flags for limits, observability, transport and access, except defaults."""
    in_flight = _IN_FLIGHT_FACTOR * settings.max_in_flight
    # All callers of the proxy share its one connection to the pattern.
    given = replace(settings, max_in_flight=in_flight, max_in_flight_per_connection=in_flight)
    for option in server_options(ProxySettings):
        name, inherited = option.field.name, option.group in (LIMITS, OBSERVABILITY)
        if (inherited and name not in _OWN) or name == "transport" or name in _ACCESS:
            value = getattr(given, name)
            if isinstance(value, Path):
                # The process has a working folder of its own.
                value = value.absolute()
            if value is not None and to_text(value) != option.field.default:
                yield from option.arguments(to_text(value))


def driver_opener(tracing: Tracing | None) -> OpenDriver:
    """Return what opens the driver that reaches a pattern's process."""

    async def open_driver(name: str, address: str) -> Driver[Never]:
        driver = await open_pattern(name, address, forwarded=forwarded_call.get)
        return driver if tracing is None else tracing.around_pattern(driver, address)

    return open_driver
