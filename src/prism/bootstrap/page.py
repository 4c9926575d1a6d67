"""What is on the page for people, and in which order."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from prism.adapters.observability.page.history import History
from prism.adapters.observability.page.page import Page
from prism.adapters.observability.page.sections.backend import backend, capabilities
from prism.adapters.observability.page.sections.failures import recent_errors
from prism.adapters.observability.page.sections.lifecycle import lifecycle_events
from prism.adapters.observability.page.sections.operations import operations
from prism.adapters.observability.page.sections.server import headline, server
from prism.adapters.observability.page.sections.settings import Setting, settings
from prism.adapters.observability.page.values import Section
from prism.bootstrap.application import GrpcServer
from prism.bootstrap.configuration import Configuration
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor


def page_of(
    configuration: Configuration,
    gateway: Gateway,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    grpc_server: GrpcServer,
    history: History,
    redactor: Redactor,
) -> Page:
    """The page of a server with one driver."""
    spec = configuration.spec
    prism = version("prism")

    def show_server() -> Section:
        return server(
            gateway.admission,
            gateway.watches,
            readiness,
            version=prism,
            addresses=grpc_server.addresses,
            uptime_s=history.uptime_s,
        )

    def show_settings() -> Section:
        told = lifecycle.settings
        held = configuration if told is None else configuration.initialized_with(told)
        return settings(Setting(each.option.path, each.shown, each.origin) for each in held.values)

    return Page(
        partial(headline, f"{spec.name} {spec.version}", lifecycle, readiness),
        {
            "Server": show_server,
            "Operations": partial(operations, history.operations),
            "Recent errors": partial(recent_errors, history.failures),
            "Lifecycle": partial(lifecycle_events, history.events),
            "Backend": partial(backend, readiness),
            "Capabilities and limits": partial(capabilities, gateway),
            "Settings": show_settings,
        },
        redactor,
    )
