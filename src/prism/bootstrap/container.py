"""Builds the parts and puts them together; opens nothing.

Every provider is synchronous, and whoever needs a part gets it as an argument:
nothing outside `bootstrap` and the tests knows that there is a container.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from prism.adapters.grpc.calls import CallObserver
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import AdminGuard, LifecycleServicer
from prism.adapters.grpc.services import Served, Services
from prism.adapters.grpc.transports.options import ServerOptions, ServerTls
from prism.adapters.observability.endpoints import Endpoints, EndpointServer
from prism.adapters.observability.page.history import (
    History,
    LifecycleEvents,
    OperationSamples,
    RecentFailures,
)
from prism.adapters.observability.tracing.environment import is_disabled
from prism.bootstrap.application import Application, GrpcServer, HttpServer
from prism.bootstrap.commander import Commander, commander_of
from prism.bootstrap.configuration import Configuration, ServerConfiguration, secrets_of
from prism.bootstrap.settings import REPLY_OVERHEAD_BYTES, ServerSettings, ServeSettings
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.ports import Driver, DriverSpec, Limits

if TYPE_CHECKING:
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.page.page import Page
    from prism.adapters.observability.tracing.tracing import Tracing


def _driver(spec: DriverSpec) -> Driver[Any]:
    return spec.factory()


def _admission(settings: ServeSettings) -> Admission:
    return Admission(
        max_in_flight=settings.max_in_flight,
        max_per_connection=settings.max_in_flight_per_connection,
    )


def _limits(settings: ServeSettings) -> Limits:
    # Keys and values share the message with what frames them.
    room = settings.max_message_bytes - REPLY_OVERHEAD_BYTES
    return Limits(max_value_bytes=room, max_batch_bytes=room)


def _tracing(settings: ServeSettings, redactor: Redactor) -> Tracing | None:
    if not settings.enable_tracing or is_disabled(os.environ):
        return None
    # OpenTelemetry is imported by who asks for traces.
    from prism.adapters.observability.tracing.tracing import Tracing

    return Tracing(
        version=version("prism"),
        exporter=settings.trace_exporter,
        ratio=settings.trace_ratio,
        out=sys.stdout,
        redact=redactor,
    )


def _call_observer(tracing: Tracing | None) -> CallObserver | None:
    return None if tracing is None else tracing.requests


def _gateway(
    driver: Driver[Any],
    spec: DriverSpec,
    tracing: Tracing | None,
    admission: Admission,
    limits: Limits,
    settings: ServeSettings,
) -> Gateway:
    if tracing is not None:
        driver = tracing.around_driver(driver, spec.name)
    return Gateway(driver, admission, limits, max_watches=settings.max_watches)


def _lifecycle(
    driver: Driver[Any], spec: DriverSpec, admission: Admission, redactor: Redactor
) -> LifecycleMachine:
    return LifecycleMachine(
        driver,
        spec.settings,
        admission,
        register_secrets=lambda texts: redactor.register(secrets_of(spec.settings, texts)),
        redact=redactor,
    )


def _server_options(settings: ServeSettings) -> ServerOptions:
    tls = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        tls = ServerTls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return ServerOptions(
        host=settings.host,
        port=settings.grpc_port,
        socket=settings.grpc_socket,
        tls=tls,
        max_message_bytes=settings.max_message_bytes,
        default_timeout=settings.default_timeout,
        reflection=settings.reflection,
        admin_token=settings.admin_token,
    )


def _request_log(
    settings: ServeSettings, failures: RecentFailures, redactor: Redactor
) -> RequestLog:
    return RequestLog(slow=settings.slow_request, failures=failures, redact=redactor)


def _key_value(
    gateway: Gateway, settings: ServeSettings, observer: CallObserver | None, log: RequestLog
) -> KeyValueServicer:
    return KeyValueServicer(
        gateway,
        default_timeout=settings.default_timeout,
        max_message_bytes=settings.max_message_bytes,
        observer=observer,
        log=log,
    )


def _guard(options: ServerOptions) -> AdminGuard:
    return AdminGuard(options.admin_token, required=not options.local_only)


def _metrics(
    spec: DriverSpec,
    gateway: Gateway,
    admission: Admission,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    services: Services,
    key_value: KeyValueServicer,
) -> Metrics:
    # Its library takes a tenth of a second, which who wants no metrics is spared.
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.metrics.server import (
        DriverCollector,
        RpcCollector,
        ServerCollector,
    )

    return Metrics(
        (
            RpcCollector(services.calls.values(), key_value.kinds.values()),
            DriverCollector(spec.name, spec.version, gateway, readiness),
            ServerCollector(version("prism"), admission, lifecycle, readiness),
        )
    )


def _history(
    gateway: Gateway,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    failures: RecentFailures,
) -> History:
    return History(
        OperationSamples(gateway.tallies.items()), failures, LifecycleEvents(lifecycle, readiness)
    )


def _page(
    configuration: Configuration,
    gateway: Gateway,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    grpc_server: GrpcServer,
    history: History,
    redactor: Redactor,
) -> Page:
    # What it takes is imported by the first who looks.
    from prism.bootstrap.page import server_page

    return server_page(configuration, gateway, lifecycle, readiness, grpc_server, history, redactor)


def _http_server(
    settings: ServeSettings,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    metrics: Callable[[], Metrics],
    page: Callable[[], Page],
    history: History,
) -> HttpServer | None:
    if not settings.metrics:
        return None
    endpoints = Endpoints(lifecycle, readiness, metrics(), page)
    return EndpointServer(endpoints, history.operations, settings.host, settings.metrics_port)


def grpc_server(settings: ServerSettings, services: Served, options: ServerOptions) -> GrpcServer:
    """A server on the transport that is chosen."""
    # A transport is imported when it is chosen.
    if settings.transport == "grpcio":
        from prism.adapters.grpc.transports.grpcio import GrpcioServer

        return GrpcioServer(services, options)
    from prism.adapters.grpc.transports.h2corn import H2cornServer

    return H2cornServer(services, options)


def _settings(configuration: Configuration) -> ServeSettings:
    return configuration.settings


def _spec(configuration: Configuration) -> DriverSpec:
    return configuration.spec


class Container(containers.DeclarativeContainer):
    """One of these for each process, and for each test."""

    # A proxy has others in the place of these.
    configuration: providers.Provider[Any] = providers.Dependency(instance_of=ServerConfiguration)
    redactor: providers.Provider[Redactor] = providers.Dependency(
        instance_of=Redactor, default=providers.Singleton(Redactor)
    )
    settings: providers.Provider[Any] = providers.Singleton(_settings, configuration)
    spec: providers.Provider[DriverSpec] = providers.Singleton(_spec, configuration)

    tracing: providers.Provider[Tracing | None] = providers.Singleton(_tracing, settings, redactor)
    call_observer: providers.Provider[CallObserver | None] = providers.Singleton(
        _call_observer, tracing
    )

    driver: providers.Provider[Any] = providers.Singleton(_driver, spec)
    admission: providers.Provider[Admission] = providers.Singleton(_admission, settings)
    limits: providers.Provider[Limits] = providers.Singleton(_limits, settings)
    gateway: providers.Provider[Gateway] = providers.Singleton(
        _gateway, driver, spec, tracing, admission, limits, settings
    )
    lifecycle: providers.Provider[LifecycleMachine] = providers.Singleton(
        _lifecycle, driver, spec, admission, redactor
    )
    readiness: providers.Provider[ReadinessMonitor] = providers.Singleton(
        ReadinessMonitor, lifecycle
    )

    failures: providers.Provider[RecentFailures] = providers.Singleton(RecentFailures)
    request_log: providers.Provider[RequestLog] = providers.Singleton(
        _request_log, settings, failures, redactor
    )
    key_value_servicer: providers.Provider[Any] = providers.Singleton(
        _key_value, gateway, settings, call_observer, request_log
    )
    server_options: providers.Provider[ServerOptions] = providers.Singleton(
        _server_options, settings
    )
    admin_guard: providers.Provider[AdminGuard] = providers.Singleton(_guard, server_options)
    lifecycle_servicer: providers.Provider[LifecycleServicer] = providers.Singleton(
        LifecycleServicer, lifecycle, admin_guard
    )
    services: providers.Provider[Services] = providers.Singleton(
        Services,
        key_value_servicer,
        lifecycle_servicer,
        readiness,
        server_options,
        call_observer,
        request_log,
    )
    grpc_server: providers.Provider[GrpcServer] = providers.Singleton(
        grpc_server, settings, services, server_options
    )
    metrics: providers.Provider[Metrics] = providers.Singleton(
        _metrics,
        spec,
        gateway,
        admission,
        lifecycle,
        readiness,
        services,
        key_value_servicer,
    )
    history: providers.Provider[History] = providers.Singleton(
        _history, gateway, lifecycle, readiness, failures
    )
    page: providers.Provider[Page] = providers.Singleton(
        _page, configuration, gateway, lifecycle, readiness, grpc_server, history, redactor
    )
    http_server: providers.Provider[HttpServer | None] = providers.Singleton(
        _http_server, settings, lifecycle, readiness, metrics.provider, page.provider, history
    )

    commander: providers.Provider[Commander] = providers.Singleton(
        commander_of, configuration, lifecycle, readiness, redactor
    )
    application: providers.Provider[Application] = providers.Singleton(
        Application,
        configuration=configuration,
        lifecycle=lifecycle,
        readiness=readiness,
        grpc_server=grpc_server,
        http_server=http_server,
        commander=commander,
        telemetry=tracing,
        request_log=request_log,
    )
