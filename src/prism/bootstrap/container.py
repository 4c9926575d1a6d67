"""Builds the parts and puts them together; opens nothing.

Every provider is synchronous, and whoever needs a part gets it as an argument:
nothing outside `bootstrap` and the tests knows that there is a container.
"""

from __future__ import annotations

from typing import Any

from dependency_injector import containers, providers

from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import AdminGuard, LifecycleServicer
from prism.adapters.grpc.services import Services
from prism.adapters.grpc.transports.options import ServerOptions, ServerTls
from prism.adapters.observability.endpoints import Endpoints
from prism.adapters.observability.http import http_server
from prism.bootstrap.application import Application, GrpcServer, HttpServer
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.settings import REPLY_OVERHEAD_BYTES, ServeSettings
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import Driver, DriverSpec, Limits


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


def _gateway(
    driver: Driver[Any], admission: Admission, limits: Limits, settings: ServeSettings
) -> Gateway:
    return Gateway(driver, admission, limits, max_watches=settings.max_watches)


def _lifecycle(driver: Driver[Any], spec: DriverSpec, admission: Admission) -> LifecycleMachine:
    return LifecycleMachine(driver, spec.settings, admission)


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


def _key_value(gateway: Gateway, settings: ServeSettings) -> KeyValueServicer:
    return KeyValueServicer(
        gateway,
        default_timeout=settings.default_timeout,
        max_message_bytes=settings.max_message_bytes,
    )


def _guard(options: ServerOptions) -> AdminGuard:
    return AdminGuard(options.admin_token, required=not options.local_only)


def _http_server(settings: ServeSettings, endpoints: Endpoints) -> HttpServer | None:
    if not settings.metrics:
        return None
    return http_server(endpoints, settings.host, settings.metrics_port)


def _grpc_server(settings: ServeSettings, services: Services, options: ServerOptions) -> GrpcServer:
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

    configuration: providers.Provider[Configuration] = providers.Dependency(
        instance_of=Configuration
    )
    settings: providers.Provider[ServeSettings] = providers.Singleton(_settings, configuration)
    spec: providers.Provider[DriverSpec] = providers.Singleton(_spec, configuration)

    driver: providers.Provider[Driver[Any]] = providers.Singleton(_driver, spec)
    admission: providers.Provider[Admission] = providers.Singleton(_admission, settings)
    limits: providers.Provider[Limits] = providers.Singleton(_limits, settings)
    gateway: providers.Provider[Gateway] = providers.Singleton(
        _gateway, driver, admission, limits, settings
    )
    lifecycle: providers.Provider[LifecycleMachine] = providers.Singleton(
        _lifecycle, driver, spec, admission
    )
    readiness: providers.Provider[ReadinessMonitor] = providers.Singleton(
        ReadinessMonitor, lifecycle
    )

    key_value_servicer: providers.Provider[KeyValueServicer] = providers.Singleton(
        _key_value, gateway, settings
    )
    server_options: providers.Provider[ServerOptions] = providers.Singleton(
        _server_options, settings
    )
    admin_guard: providers.Provider[AdminGuard] = providers.Singleton(_guard, server_options)
    lifecycle_servicer: providers.Provider[LifecycleServicer] = providers.Singleton(
        LifecycleServicer, lifecycle, admin_guard
    )
    services: providers.Provider[Services] = providers.Singleton(
        Services, key_value_servicer, lifecycle_servicer, readiness, server_options
    )
    grpc_server: providers.Provider[GrpcServer] = providers.Singleton(
        _grpc_server, settings, services, server_options
    )
    endpoints: providers.Provider[Endpoints] = providers.Singleton(Endpoints, lifecycle, readiness)
    http_server: providers.Provider[HttpServer | None] = providers.Singleton(
        _http_server, settings, endpoints
    )

    application: providers.Provider[Application] = providers.Singleton(
        Application,
        configuration=configuration,
        lifecycle=lifecycle,
        readiness=readiness,
        grpc_server=grpc_server,
        http_server=http_server,
    )
