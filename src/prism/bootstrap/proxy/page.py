"""What is on the page of a proxy, and in which order."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from prism.adapters.observability.page.history import History
from prism.adapters.observability.page.page import Page
from prism.adapters.observability.page.sections.failures import recent_errors
from prism.adapters.observability.page.sections.lifecycle import lifecycle_events
from prism.adapters.observability.page.sections.operations import operations
from prism.adapters.observability.page.sections.patterns import pattern_events, patterns
from prism.adapters.observability.page.sections.server import headline, server
from prism.adapters.observability.page.sections.settings import Setting, settings
from prism.adapters.observability.page.values import Section
from prism.bootstrap.application import GrpcServer
from prism.bootstrap.proxy.configuration import ProxyConfiguration
from prism.domain.admission import Admission
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor


def page_of(
    configuration: ProxyConfiguration,
    known: Supervisor,
    admission: Admission,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    grpc_server: GrpcServer,
    history: History,
    redactor: Redactor,
) -> Page:
    """The page of a proxy; that of each pattern tells more of its backend."""
    prism = version("prism")

    def show_server() -> Section:
        return server(
            admission,
            None,
            readiness,
            version=prism,
            addresses=grpc_server.addresses,
            uptime_s=history.uptime_s,
        )

    def show_settings() -> Section:
        return settings(
            Setting(each.option.path, each.shown, each.origin) for each in configuration.values
        )

    return Page(
        partial(headline, f"proxy {prism}", lifecycle, readiness),
        {
            "Patterns": partial(patterns, known),
            "Pattern events": partial(pattern_events, known.journal),
            "Operations": partial(operations, history.operations),
            "Recent errors": partial(recent_errors, history.failures),
            "Server": show_server,
            "Lifecycle": partial(lifecycle_events, history.events),
            "Settings": show_settings,
        },
        redactor,
    )
