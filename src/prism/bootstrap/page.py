"""The sections of the page, in order: of a server with one driver, and of a proxy.

The first request for the page imports its libraries.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redact
from prism.version import VERSION

if TYPE_CHECKING:
    from prism.adapters.observability.page.history import History
    from prism.adapters.observability.page.page import Section, StatusPage
    from prism.adapters.resp.listener import RespServer
    from prism.bootstrap.application import GrpcServer
    from prism.bootstrap.configuration import Configuration, Value
    from prism.bootstrap.proxy.configuration import ProxyConfiguration
    from prism.domain.patterns.supervisor import Supervisor


def server_page(
    configuration: Configuration,
    gateway: Gateway,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    grpc_server: GrpcServer,
    redis_server: RespServer | None,
    history: History,
    redact: Redact,
) -> StatusPage:
    """Return the page of a server with one driver."""
    from prism.adapters.observability.page import sections
    from prism.adapters.observability.page.page import StatusPage

    spec = configuration.spec

    def server() -> Section:
        return sections.server_section(
            gateway.admission,
            gateway.watches,
            readiness,
            version=VERSION,
            addresses=grpc_server.addresses,
            redis_port=redis_server,
            uptime_s=history.uptime_s,
        )

    def settings() -> Section:
        # An Initialize command may have replaced the driver's settings.
        given = lifecycle.settings
        effective = configuration if given is None else configuration.initialized_with(given)
        return _settings_section(effective.values)

    return StatusPage(
        partial(sections.headline, f"{spec.name} {spec.version}", lifecycle, readiness),
        {
            "Server": server,
            "Operations": partial(sections.operations_section, history.operations),
            "Recent errors": partial(sections.failures_section, history.failures),
            "Lifecycle": partial(sections.lifecycle_section, history.events),
            "Backend": partial(sections.backend_section, readiness),
            "Capabilities and limits": partial(sections.capabilities_section, gateway),
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
    redis_server: RespServer | None,
    history: History,
    redact: Redact,
) -> StatusPage:
    """Return the page of a proxy; each pattern has a page of its own with its backend."""
    from prism.adapters.observability.page import sections
    from prism.adapters.observability.page.page import StatusPage

    def server() -> Section:
        return sections.server_section(
            admission,
            None,
            readiness,
            version=VERSION,
            addresses=grpc_server.addresses,
            redis_port=redis_server,
            uptime_s=history.uptime_s,
        )

    return StatusPage(
        partial(sections.headline, f"proxy {VERSION}", lifecycle, readiness),
        {
            "Patterns": partial(sections.patterns_section, patterns),
            "Pattern events": partial(sections.pattern_events_section, patterns.journal),
            "Operations": partial(sections.operations_section, history.operations),
            "Recent errors": partial(sections.failures_section, history.failures),
            "Server": server,
            "Lifecycle": partial(sections.lifecycle_section, history.events),
            "Settings": partial(_settings_section, configuration.values),
        },
        redact,
    )


def _settings_section(values: Iterable[Value]) -> Section:
    from prism.adapters.observability.page import sections

    return sections.settings_section(
        sections.Setting(each.option.path, each.shown, each.origin) for each in values
    )
