"""The standard variables that OpenTelemetry's own parts leave to whoever puts them together.

What is not known is warned about and ignored, as the standard wants it.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import unquote

Exporter = Literal["stdout", "otlp", "none"]

log = logging.getLogger(__name__)

_EXPORTERS: Mapping[str, Exporter] = {"console": "stdout", "otlp": "otlp", "none": "none"}
_PROTOCOL = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
# A caller's decision is respected whichever of a pair is named.
_SAMPLERS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether there is to be no telemetry at all."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporter_of(named: str | None, environ: Mapping[str, str]) -> Exporter:
    """Where traces go.

    Args:
        named: by an option, which goes first; Jaeger takes OTLP.
    """
    if named is not None:
        return "stdout" if named == "stdout" else "otlp"
    variable = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if variable and variable not in _EXPORTERS:
        log.warning(
            "OTEL_TRACES_EXPORTER is %r and has no effect; known are: %s",
            variable,
            ", ".join(_EXPORTERS),
        )
    return _EXPORTERS.get(variable, "stdout")


def warn_of_protocol(environ: Mapping[str, str]) -> None:
    """OTLP is spoken over gRPC, whatever else is asked for."""
    for name in _PROTOCOL:
        protocol = environ.get(name, "").strip().lower()
        if protocol not in ("", "grpc"):
            log.warning("%s is %r and has no effect; traces go over grpc", name, protocol)


def secrets_in(environ: Mapping[str, str]) -> Iterator[str]:
    """What the headers for a collector hold, which is where its tokens are."""
    for variable in _HEADERS:
        for header in environ.get(variable, "").split(","):
            name, equals, value = header.partition("=")
            # One that is malformed may be a token all over, and the library logs it.
            secret = (value if equals else name).strip()
            yield secret
            yield unquote(secret)


def ratio_of(given: float | None, environ: Mapping[str, str]) -> float:
    """How many of the traces that begin here are sampled, 0 to 1; without a word all of them.

    Args:
        given: by an option, which goes first.
    """
    if given is not None:
        return given
    variable = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    sampler = variable.removeprefix("parentbased_")
    if variable and sampler not in _SAMPLERS:
        log.warning("OTEL_TRACES_SAMPLER is %r, which is not known, and has no effect", variable)
    ratio = _SAMPLERS.get(sampler, 1.0)
    return _argument(environ) if ratio is None else ratio


def _argument(environ: Mapping[str, str]) -> float:
    text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    try:
        ratio = float(text or 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        log.warning("OTEL_TRACES_SAMPLER_ARG is %r and has no effect; it is 0 to 1", text)
        return 1.0
    return ratio
