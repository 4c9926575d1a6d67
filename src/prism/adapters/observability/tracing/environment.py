"""The standard OTEL_ variables that the OpenTelemetry SDK leaves to the application.

Unknown values are ignored with a warning, as the specification asks.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Literal
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass

from prism.domain.addresses import is_loopback
from prism.ports import InvalidArgument

Exporter = Literal["stdout", "otlp", "none"]

log = logging.getLogger(__name__)

_EXPORTERS: Mapping[str, Exporter] = {"console": "stdout", "otlp": "otlp", "none": "none"}
_PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADER_VARIABLES = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DEFAULT_ENDPOINT = "http://localhost:4317"
# In the order in which gRPC reads them.
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
# With or without the prefix `parentbased_`, because a caller's decision is always respected.
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
# Variables that name components, and the group of entry points in which the SDK finds them.
_COMPONENTS = {
    "OTEL_PYTHON_CONTEXT": "opentelemetry_context",
    "OTEL_PYTHON_TRACER_PROVIDER": "opentelemetry_tracer_provider",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "opentelemetry_resource_detector",
}
_ALL_COMPONENTS = "*"


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Return whether `OTEL_SDK_DISABLED` switches off all telemetry."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def check_components(environ: Mapping[str, str]) -> None:
    """Raise InvalidArgument if a variable names a component that is not installed.

    The SDK would print a stack trace for it.
    """
    for variable, group in _COMPONENTS.items():
        for name in filter(None, map(str.strip, environ.get(variable, "").split(","))):
            installed = entry_points(group=group).names
            if name not in installed and name != _ALL_COMPONENTS:
                raise InvalidArgument(
                    f"{variable} names {name!r}, which is not installed; the installed ones are: "
                    f"{', '.join(sorted(installed)) or 'none'}"
                )


def exporter_of(option: str | None, environ: Mapping[str, str]) -> Exporter:
    """Return where traces go.

    Args:
        option: value of `--trace-exporter`, which overrides the variable; None: not given.
    """
    if option is not None:
        # Jaeger takes OTLP.
        return "stdout" if option == "stdout" else "otlp"
    variable = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if variable and variable not in _EXPORTERS:
        log.warning(
            "OTEL_TRACES_EXPORTER is %r and has no effect; valid values are: %s",
            variable,
            ", ".join(_EXPORTERS),
        )
    return _EXPORTERS.get(variable, "stdout")


def warn_about_protocol(environ: Mapping[str, str]) -> None:
    """Log a warning if a variable asks for a protocol of OTLP other than gRPC."""
    for name in _PROTOCOL_VARIABLES:
        protocol = environ.get(name, "").strip().lower()
        if protocol not in ("", "grpc"):
            log.warning("%s is %r and has no effect; traces are sent over grpc", name, protocol)


def proxy_variable(environ: Mapping[str, str]) -> str:
    """Return the variable that names the HTTP proxy on the way to the collector; empty: none.

    gRPC would use the proxy for loopback and Unix sockets too: see `is_collector_local`.
    """
    host = _collector_host(environ)
    if is_loopback(host) or proxy_bypass(host):
        return ""
    return next((name for name in _PROXY_VARIABLES if environ.get(name)), "")


def is_collector_local(environ: Mapping[str, str]) -> bool:
    """Return whether the collector listens on loopback or a Unix socket."""
    return is_loopback(_collector_host(environ))


def _collector_host(environ: Mapping[str, str]) -> str:
    given = (environ.get(name, "").strip() for name in _ENDPOINT_VARIABLES)
    endpoint = next(filter(None, given), _DEFAULT_ENDPOINT)
    if endpoint.startswith("unix:"):
        return "localhost"
    try:
        # Without a scheme, gRPC takes it for host:port.
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname or ""
    except ValueError:
        return ""


def secrets_in(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the values of the headers for a collector, which may be tokens."""
    for variable in _HEADER_VARIABLES:
        for header in environ.get(variable, "").split(","):
            name, equals, value = header.partition("=")
            # A header without `=` may be a bare token, and the library logs it.
            secret = (value if equals else name).strip()
            yield secret
            yield unquote(secret)


def ratio_of(option: float | None, environ: Mapping[str, str]) -> float:
    """Return the share of new traces that are sampled, 0 to 1; all of them by default.

    Args:
        option: value of `--trace-ratio`, which overrides the variables; None: not given.
    """
    if option is not None:
        return option
    variable = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    sampler = variable.removeprefix("parentbased_")
    if variable and sampler not in _SAMPLERS:
        log.warning("OTEL_TRACES_SAMPLER is %r, which is unknown, and has no effect", variable)
    ratio = _SAMPLERS.get(sampler, 1.0)
    return _sampler_argument(environ) if ratio is None else ratio


def _sampler_argument(environ: Mapping[str, str]) -> float:
    text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    try:
        ratio = float(text or 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        log.warning("OTEL_TRACES_SAMPLER_ARG is %r and has no effect; it must be 0 to 1", text)
        return 1.0
    return ratio
