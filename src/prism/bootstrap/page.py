"""The sections of the page, in order: of a server with one driver, and of a proxy."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from prism.adapters.observability.page.history import History
from prism.adapters.observability.page.page import Section, StatusPage
from prism.adapters.observability.page.sections import (
    Setting,
    backend_section,
    capabilities_section,
    failures_section,
    headline,
    lifecycle_section,
    operations_section,
    pattern_events_section,
    patterns_section,
    server_section,
    settings_section,
)
from prism.bootstrap.application import GrpcServer
from prism.bootstrap.configuration import Configuration, Value
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redact
from prism.version import VERSION

if TYPE_CHECKING:
    from prism.bootstrap.proxy.configuration import ProxyConfiguration
    from prism.domain.patterns.supervisor import Supervisor


def server_page(
    configuration: Configuration,
    gateway: Gateway,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    grpc_server: GrpcServer,
    history: History,
    redact: Redact,
) -> StatusPage:
    """Return the page of a server with one driver."""
    spec = configuration.spec

    def server() -> Section:
        return server_section(
            gateway.admission,
            gateway.watches,
            readiness,
            version=VERSION,
            addresses=grpc_server.addresses,
            uptime_s=history.uptime_s,
        )

    def settings() -> Section:
        # An Initialize command may have replaced the driver's settings.
        given = lifecycle.settings
        effective = configuration if given is None else configuration.initialized_with(given)
        return _settings_section(effective.values)

    return StatusPage(
        partial(headline, f"{spec.name} {spec.version}", lifecycle, readiness),
        {
            "Server": server,
            "Operations": partial(operations_section, history.operations),
            "Recent errors": partial(failures_section, history.failures),
            "Lifecycle": partial(lifecycle_section, history.events),
            "Backend": partial(backend_section, readiness),
            "Capabilities and limits": partial(capabilities_section, gateway),
            "Settings": settings,
        },
        redact,
    )


def proxy_page(
    configuration: ProxyConfiguration,
    patterns: Supervisor,
    admission: Admission,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    grpc_server: GrpcServer,
    history: History,
    redact: Redact,
) -> StatusPage:
    """Return the page of a proxy; each pattern has a page of its own with its backend."""

    def server() -> Section:
        return server_section(
            admission,
            None,
            readiness,
            version=VERSION,
            addresses=grpc_server.addresses,
            uptime_s=history.uptime_s,
        )

    return StatusPage(
        partial(headline, f"proxy {VERSION}", lifecycle, readiness),
        {
            "Patterns": partial(patterns_section, patterns),
            "Pattern events": partial(pattern_events_section, patterns.journal),
            "Operations": partial(operations_section, history.operations),
            "Recent errors": partial(failures_section, history.failures),
            "Server": server,
            "Lifecycle": partial(lifecycle_section, history.events),
            "Settings": partial(_settings_section, configuration.values),
        },
        redact,
    )


def _settings_section(values: Iterable[Value]) -> Section:
    return settings_section(Setting(each.option.path, each.shown, each.origin) for each in values)
