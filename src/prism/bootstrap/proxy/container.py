"""Builds the parts of a proxy: those of every server, and what stands in a driver's place."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dependency_injector import providers

from prism.adapters.client.lifecycle import pattern_lifecycle
from prism.adapters.grpc.calls import CallObserver, calls_of
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers.forwarding import ForwardingServicer, forwarded_call
from prism.adapters.grpc.servicers.pattern_control import (
    PatternControlPlane,
    PatternControlServicer,
)
from prism.adapters.grpc.servicers.proxy_admin import ProxyAdminServicer
from prism.adapters.grpc.services import PATTERN_CONTROL, ControlServices, Services
from prism.adapters.grpc.transports.options import ServerOptions
from prism.adapters.observability.page.history import (
    History,
    LifecycleEvents,
    OperationSamples,
    RecentFailures,
)
from prism.adapters.process import LaunchOptions, ProcessLauncher
from prism.adapters.remote import open_pattern
from prism.bootstrap.application import GrpcServer
from prism.bootstrap.commander import Commander, StandaloneCommander
from prism.bootstrap.container import Container, grpc_server
from prism.bootstrap.proxy.acceptance import Acceptance
from prism.bootstrap.proxy.configuration import ProxyConfiguration
from prism.bootstrap.proxy.folder import PrivateFolder
from prism.bootstrap.proxy.launching import CONTROL_SOCKET, launch_options
from prism.bootstrap.proxy.narration import narrate
from prism.bootstrap.proxy.server import ProxyServer
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.admission import Admission
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.ports import SupervisionPorts
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import PatternPolicy
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.ports import Driver, Limits

if TYPE_CHECKING:
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.page.page import Page
    from prism.adapters.observability.tracing.tracing import Tracing


def _journal(redactor: Redactor) -> Journal:
    journal = Journal(redactor)
    narrate(journal)
    return journal


def _supervision_ports(
    launcher: ProcessLauncher,
    control_plane: PatternControlPlane,
    journal: Journal,
    redactor: Redactor,
    tracing: Tracing | None,
) -> SupervisionPorts:
    async def open_driver(name: str, address: str) -> Driver[Any]:
        driver = await open_pattern(name, address, forwarded=forwarded_call.get)
        return driver if tracing is None else tracing.around_pattern(driver, address)

    return SupervisionPorts(
        launcher=launcher,
        control_plane=control_plane,
        open_lifecycle=pattern_lifecycle,
        open_driver=open_driver,
        journal=journal,
        redact=redactor,
    )


def _pattern_policy(settings: ProxySettings, limits: Limits) -> PatternPolicy:
    return PatternPolicy(
        start_timeout=settings.start_timeout,
        health_interval=settings.health_interval,
        terminate_after=settings.terminate_after,
        max_in_flight=settings.max_in_flight,
        max_per_connection=settings.max_in_flight_per_connection,
        max_watches=settings.max_watches,
        limits=limits,
    )


def _supervisor(
    configuration: ProxyConfiguration, ports: SupervisionPorts, policy: PatternPolicy
) -> Supervisor:
    settings = configuration.settings
    return Supervisor(
        configuration.patterns,
        ports,
        policy,
        default=settings.default_pattern or "",
        wait_while_down=settings.pattern_wait,
    )


def _admission(configuration: ProxyConfiguration) -> Admission:
    # Each pattern has bounds of its own; what waits here must not wait for another's.
    settings, patterns = configuration.settings, len(configuration.patterns)
    return Admission(
        max_in_flight=patterns * settings.max_in_flight,
        max_per_connection=patterns * settings.max_in_flight_per_connection,
    )


def _routed(
    supervisor: Supervisor,
    admission: Admission,
    settings: ProxySettings,
    observer: CallObserver | None,
    log: RequestLog,
) -> ForwardingServicer:
    return ForwardingServicer(
        supervisor,
        admission,
        default_timeout=settings.default_timeout,
        max_message_bytes=settings.max_message_bytes,
        observer=observer,
        log=log,
    )


def _control_server(
    settings: ProxySettings, servicer: PatternControlServicer, folder: PrivateFolder
) -> GrpcServer:
    options = ServerOptions(socket=folder.path / CONTROL_SOCKET)
    calls = calls_of(
        PATTERN_CONTROL,
        servicer,
        default_timeout=None,
        max_message_bytes=options.max_message_bytes,
    )
    return grpc_server(settings, ControlServices(calls), options)


def _metrics(
    supervisor: Supervisor,
    admission: Admission,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    services: Services,
    routed: ForwardingServicer,
) -> Metrics:
    # Its library takes a tenth of a second, which who wants no metrics is spared.
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.metrics.patterns import PatternCollector
    from prism.adapters.observability.metrics.server import RpcCollector, ServerCollector

    prism = version("prism")
    return Metrics(
        (
            RpcCollector(services.calls.values(), routed.kinds.values()),
            PatternCollector(supervisor, prism),
            ServerCollector(prism, admission, lifecycle, readiness),
        )
    )


def _history(
    supervisor: Supervisor,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    failures: RecentFailures,
) -> History:
    samples = OperationSamples(supervisor.operation_tallies.items())
    return History(samples, failures, LifecycleEvents(lifecycle, readiness))


def _page(
    configuration: ProxyConfiguration,
    supervisor: Supervisor,
    admission: Admission,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    server: GrpcServer,
    history: History,
    redactor: Redactor,
) -> Page:
    # What it takes is imported by the first who looks.
    from prism.bootstrap.page import proxy_page

    return proxy_page(
        configuration, supervisor, admission, lifecycle, readiness, server, history, redactor
    )


def _standalone(lifecycle: LifecycleMachine) -> Commander:
    return StandaloneCommander(lifecycle, {})


class _Parts(Container):
    """What a proxy has besides; what takes the place of something is named as that."""

    folder: providers.Provider[PrivateFolder] = providers.Singleton(PrivateFolder)
    journal: providers.Provider[Journal] = providers.Singleton(_journal, Container.redactor)
    launch_options: providers.Provider[LaunchOptions] = providers.Singleton(
        launch_options, Container.settings, folder, Container.redactor
    )
    launcher: providers.Provider[ProcessLauncher] = providers.Singleton(
        ProcessLauncher, launch_options
    )
    control_plane: providers.Provider[PatternControlPlane] = providers.Singleton(
        PatternControlPlane
    )
    supervision_ports: providers.Provider[SupervisionPorts] = providers.Singleton(
        _supervision_ports, launcher, control_plane, journal, Container.redactor, Container.tracing
    )
    pattern_policy: providers.Provider[PatternPolicy] = providers.Singleton(
        _pattern_policy, Container.settings, Container.limits
    )
    supervisor: providers.Provider[Supervisor] = providers.Singleton(
        _supervisor, Container.configuration, supervision_ports, pattern_policy
    )
    acceptance: providers.Provider[Acceptance] = providers.Singleton(Acceptance, Container.redactor)
    proxy_admin_servicer: providers.Provider[ProxyAdminServicer] = providers.Singleton(
        ProxyAdminServicer, supervisor, Container.admin_guard, acceptance
    )
    calls_server: providers.Provider[GrpcServer] = providers.Singleton(
        grpc_server, Container.settings, Container.services, Container.server_options
    )
    control_servicer: providers.Provider[PatternControlServicer] = providers.Singleton(
        PatternControlServicer, control_plane
    )
    control_server: providers.Provider[GrpcServer] = providers.Singleton(
        _control_server, Container.settings, control_servicer, folder
    )


def proxy_container(configuration: ProxyConfiguration, redactor: Redactor) -> Container:
    """The parts of every server, with those of a proxy in the place of some."""
    parts = _Parts(configuration=configuration, redactor=redactor)
    parts.override_providers(
        driver=parts.supervisor,
        admission=providers.Singleton(_admission, parts.configuration),
        key_value_servicer=providers.Singleton(
            _routed,
            parts.supervisor,
            parts.admission,
            parts.settings,
            parts.call_observer,
            parts.request_log,
        ),
        services=providers.Singleton(
            Services,
            parts.key_value_servicer,
            parts.lifecycle_servicer,
            parts.readiness,
            parts.server_options,
            parts.call_observer,
            parts.request_log,
            parts.proxy_admin_servicer,
        ),
        grpc_server=providers.Singleton(
            ProxyServer,
            parts.calls_server,
            parts.control_server,
            parts.launcher,
            parts.folder,
        ),
        metrics=providers.Singleton(
            _metrics,
            parts.supervisor,
            parts.admission,
            parts.lifecycle,
            parts.readiness,
            parts.services,
            parts.key_value_servicer,
        ),
        history=providers.Singleton(
            _history, parts.supervisor, parts.lifecycle, parts.readiness, parts.failures
        ),
        page=providers.Singleton(
            _page,
            parts.configuration,
            parts.supervisor,
            parts.admission,
            parts.lifecycle,
            parts.readiness,
            parts.grpc_server,
            parts.history,
            parts.redactor,
        ),
        commander=providers.Singleton(_standalone, parts.lifecycle),
    )
    return parts
