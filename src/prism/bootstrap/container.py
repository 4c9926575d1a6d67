"""Builds the parts of a server and connects them; opens nothing.

Every provider is synchronous, and every part gets what it needs as arguments: only `bootstrap`
and the tests know that there is a container.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Never

from dependency_injector import containers, providers

from prism.adapters.grpc.admin_guard import AdminGuard
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers.forwarding import ForwardingServicer
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.servicers.proxy_admin import ProxyAdminServicer
from prism.adapters.grpc.services import Services
from prism.adapters.grpc.transports import server_on
from prism.adapters.observability.endpoints import Endpoints
from prism.adapters.observability.page.history import (
    History,
    LifecycleEvents,
    OperationSamples,
    RecentFailures,
)
from prism.adapters.observability.tracing import traced, tracing_if
from prism.bootstrap.access import (
    access_of,
    access_to_data_of,
    admin_guard_of,
    audit_log_of,
    authentication_of,
    entrance_of,
    issuer_keys_of,
    operation_record_of,
)
from prism.bootstrap.application import Application, GrpcServer
from prism.bootstrap.commander import Commander, StandaloneCommander
from prism.bootstrap.configuration import Configuration, ServerConfiguration
from prism.bootstrap.monitoring import driver_collector, endpoint_server_of, metrics_of
from prism.bootstrap.page import server_page
from prism.bootstrap.redis_port import redis_server_of
from prism.bootstrap.reloading import Apply, Reloader, secrets_of_driver
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.domain.tallies import OperationTally
from prism.ports import Driver

if TYPE_CHECKING:
    from prism.adapters.observability.metrics.patterns import PatternCollector
    from prism.adapters.observability.metrics.server import DriverCollector
    from prism.adapters.observability.page.page import StatusPage
    from prism.adapters.resp.listener import RespServer


def commander_of(
    configuration: Configuration,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    redactor: Redactor,
) -> Commander:
    """Return the commander for the configuration: managed if it has a proxy's address."""
    address = configuration.settings.proxy_address
    if address is None:
        return StandaloneCommander(
            lifecycle,
            configuration.driver_settings,
            configuration.settings.start_timeout,
            readiness,
        )
    # Only patterns pay for this import.
    from prism.bootstrap.managed.commander import managed_commander

    return managed_commander(address, configuration, lifecycle, readiness, redactor)


class CommonContainer(containers.DeclarativeContainer):
    """Parts that a server and a proxy have in common."""

    configuration = providers.Dependency(instance_of=ServerConfiguration)
    redactor = providers.Dependency(instance_of=Redactor)
    settings = configuration.provided.settings
    spec = configuration.provided.spec

    # Parts in which a server and a proxy differ.
    driver: providers.Dependency[Driver[Never]] = providers.Dependency()
    key_value_servicer: providers.Dependency[KeyValueServicer | ForwardingServicer] = (
        providers.Dependency()
    )
    proxy_admin_servicer: providers.Dependency[ProxyAdminServicer | None] = providers.Dependency(
        default=providers.Object(None)
    )
    tallies: providers.Dependency[Iterable[tuple[str, OperationTally]]] = providers.Dependency()
    collector: providers.Dependency[DriverCollector | PatternCollector] = providers.Dependency()
    page: providers.Dependency[StatusPage] = providers.Dependency()
    commander: providers.Dependency[Commander] = providers.Dependency()
    redis_server: providers.Dependency[RespServer | None] = providers.Dependency()
    apply_secrets: providers.Dependency[Apply] = providers.Dependency()

    tracing = providers.Singleton(
        tracing_if,
        settings.enable_tracing,
        exporter=settings.trace_exporter,
        ratio=settings.trace_ratio,
        redact=redactor,
    )
    call_observer = providers.Singleton(
        lambda tracing: tracing and tracing.requests, tracing=tracing
    )
    failures = providers.Singleton(RecentFailures)
    request_log = providers.Singleton(
        RequestLog, slow=settings.slow_request, failures=failures, redact=redactor
    )

    admission = providers.Singleton(
        Admission,
        max_in_flight=configuration.provided.max_in_flight,
        max_per_connection=configuration.provided.max_per_connection,
    )
    lifecycle = providers.Singleton(
        LifecycleMachine,
        driver=driver,
        settings_type=spec.settings,
        admission=admission,
        register_secrets=providers.Factory(
            partial, redactor.provided.register_settings, spec.settings
        ),
        redact=redactor,
    )
    readiness = providers.Singleton(ReadinessMonitor, lifecycle=lifecycle)

    server_options = settings.server_options
    audit_log = providers.Singleton(audit_log_of, settings=settings)
    access = providers.Singleton(access_of, settings=settings, audit_log=audit_log)
    access_to_data = providers.Callable(access_to_data_of, access=access, settings=settings)
    operation_record = providers.Callable(
        operation_record_of, settings=settings, audit_log=audit_log
    )
    token_guard = providers.Singleton(
        AdminGuard, token=settings.admin_token, required=server_options.is_remote
    )
    admin_guard = providers.Singleton(
        admin_guard_of, token_guard=token_guard, access=access_to_data
    )
    lifecycle_servicer = providers.Singleton(
        LifecycleServicer, lifecycle=lifecycle, guard=admin_guard
    )
    services = providers.Singleton(
        Services,
        key_value=key_value_servicer,
        lifecycle=lifecycle_servicer,
        readiness=readiness,
        options=server_options,
        observer=call_observer,
        log=request_log,
        proxy_admin=proxy_admin_servicer,
        authenticate=providers.Callable(
            authentication_of, access=access_to_data, settings=settings
        ),
        record=providers.Callable(
            lambda audit_log: audit_log and audit_log.record, audit_log=audit_log
        ),
    )
    client_server = providers.Singleton(
        server_on,
        transport=settings.transport,
        services=services,
        options=server_options,
        unread=admission.provided.unread,
        turns=admission.provided.turns,
    )
    # A proxy also listens for its patterns.
    grpc_server: providers.Dependency[GrpcServer] = providers.Dependency(default=client_server)

    history = providers.Singleton(
        History,
        operations=providers.Factory(OperationSamples, tallies=tallies),
        failures=failures,
        events=providers.Factory(LifecycleEvents, lifecycle=lifecycle, readiness=readiness),
    )
    metrics = providers.Singleton(
        metrics_of,
        services=services,
        key_value=key_value_servicer,
        backend=collector,
        admission=admission,
        lifecycle=lifecycle,
        readiness=readiness,
        listener=client_server,
        redis_server=redis_server,
    )
    endpoints = providers.Singleton(
        Endpoints,
        lifecycle=lifecycle,
        readiness=readiness,
        metrics=metrics,
        page=page.provider,
        logins=providers.Callable(lambda access: access and access.logins, access=access),
    )
    http_server = providers.Singleton(
        endpoint_server_of, settings=settings, endpoints=endpoints.provider, history=history
    )
    reloader = providers.Singleton(
        Reloader,
        configuration,
        server=grpc_server,
        guard=token_guard,
        access=access,
        redactor=redactor,
        apply_secrets=apply_secrets,
        redis_server=redis_server,
    )
    application = providers.Singleton(
        Application,
        configuration=configuration,
        lifecycle=lifecycle,
        readiness=readiness,
        grpc_server=grpc_server,
        http_server=http_server,
        commander=commander,
        telemetry=tracing,
        request_log=request_log,
        audit_log=audit_log,
        reloader=reloader,
        redis_server=redis_server,
        issuer_keys=providers.Callable(issuer_keys_of, access=access),
    )


class Container(containers.DeclarativeContainer):
    """Parts of a server with one driver: one container for each process, and for each test."""

    configuration = providers.Dependency(instance_of=ServerConfiguration)
    redactor = providers.Dependency(instance_of=Redactor, default=providers.Singleton(Redactor))
    common = providers.Container(CommonContainer, configuration=configuration, redactor=redactor)
    settings = configuration.provided.settings
    spec = configuration.provided.spec

    driver = providers.Singleton(lambda spec: spec.factory(), spec=spec)
    gateway = providers.Singleton(
        Gateway,
        driver=providers.Callable(traced, driver, spec=spec, tracing=common.tracing),
        admission=common.admission,
        limits=settings.limits,
        max_watches=settings.max_watches,
    )
    entrance = providers.Singleton(
        entrance_of, gateway=gateway, access=common.access_to_data, record=common.operation_record
    )
    key_value_servicer = providers.Singleton(
        KeyValueServicer,
        gateway=entrance,
        default_timeout=settings.default_timeout,
        max_message_bytes=settings.max_message_bytes,
        observer=common.call_observer,
        log=common.request_log,
    )
    commander = providers.Singleton(
        commander_of,
        configuration=configuration,
        lifecycle=common.lifecycle,
        readiness=common.readiness,
        redactor=redactor,
    )
    collector = providers.Singleton(
        driver_collector, spec=spec, gateway=gateway, readiness=common.readiness
    )
    redis_server = providers.Singleton(
        redis_server_of,
        settings=settings,
        admission=common.admission,
        request_log=common.request_log,
        observer=common.call_observer,
        readiness=common.readiness,
        access=common.access_to_data,
        databases=providers.Dict({"": entrance}),
    )
    page = providers.Singleton(
        server_page,
        configuration=configuration,
        gateway=gateway,
        lifecycle=common.lifecycle,
        readiness=common.readiness,
        grpc_server=common.grpc_server,
        redis_server=redis_server,
        history=common.history,
        redact=redactor,
    )
    common.override_providers(
        driver=driver,
        key_value_servicer=key_value_servicer,
        tallies=gateway.provided.tallies.items.call(),
        collector=collector,
        page=page,
        commander=commander,
        redis_server=redis_server,
        apply_secrets=providers.Callable(
            secrets_of_driver, configuration=configuration, lifecycle=common.lifecycle
        ),
    )
    lifecycle = common.lifecycle
    readiness = common.readiness
    application = common.application
