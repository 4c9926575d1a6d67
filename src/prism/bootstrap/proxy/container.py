"""Builds the parts of a proxy: those of every server, and its patterns instead of a driver."""

from __future__ import annotations

from dependency_injector import containers, providers

from prism.adapters.client.lifecycle import pattern_lifecycle
from prism.adapters.grpc.servicers.forwarding import ForwardingServicer
from prism.adapters.grpc.servicers.pattern_control import (
    PatternControlPlane,
    PatternControlServicer,
)
from prism.adapters.grpc.servicers.proxy_admin import ProxyAdminServicer
from prism.adapters.grpc.services import ControlServices
from prism.adapters.grpc.transports import server_on
from prism.adapters.grpc.transports.options import ServerOptions
from prism.adapters.process import ProcessLauncher
from prism.bootstrap.commander import StandaloneCommander
from prism.bootstrap.container import CommonContainer
from prism.bootstrap.monitoring import pattern_collector
from prism.bootstrap.page import proxy_page
from prism.bootstrap.proxy.configuration import PatternValidator, ProxyConfiguration
from prism.bootstrap.proxy.launching import driver_opener, launch_options
from prism.bootstrap.proxy.redis_databases import first_database, pattern_gateways
from prism.bootstrap.proxy.server import ProxyServer, SocketDir
from prism.bootstrap.redis_port import redis_server_of
from prism.bootstrap.reloading import secrets_of_patterns
from prism.domain.patterns.journal import Journal, log_events
from prism.domain.patterns.ports import SupervisionPorts
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.redaction import Redactor


class ProxyContainer(containers.DeclarativeContainer):
    """Parts of a proxy."""

    configuration = providers.Dependency(instance_of=ProxyConfiguration)
    redactor = providers.Dependency(instance_of=Redactor, default=providers.Singleton(Redactor))
    common = providers.Container(CommonContainer, configuration=configuration, redactor=redactor)
    settings = configuration.provided.settings

    socket_dir = providers.Singleton(SocketDir)
    journal = providers.Singleton(log_events, providers.Factory(Journal, redact=redactor))
    launcher = providers.Singleton(
        ProcessLauncher,
        options=providers.Callable(
            launch_options, settings=settings, socket_dir=socket_dir, redactor=redactor
        ),
    )
    control_plane = providers.Singleton(PatternControlPlane)
    supervisor = providers.Singleton(
        Supervisor,
        specs=configuration.provided.patterns,
        ports=providers.Factory(
            SupervisionPorts,
            launcher=launcher,
            control_plane=control_plane,
            open_lifecycle=providers.Object(pattern_lifecycle),
            open_driver=providers.Callable(driver_opener, tracing=common.tracing),
            journal=journal,
            redact=redactor,
        ),
        policy=settings.pattern_policy,
        default=settings.default_pattern,
        wait_while_down=settings.pattern_wait,
    )

    forwarding_servicer = providers.Singleton(
        ForwardingServicer,
        patterns=supervisor,
        admission=common.admission,
        default_timeout=settings.default_timeout,
        max_message_bytes=settings.max_message_bytes,
        observer=common.call_observer,
        log=common.request_log,
        control=providers.Callable(lambda access: access and access.control, access=common.access),
        record=common.operation_record,
    )
    proxy_admin_servicer = providers.Singleton(
        ProxyAdminServicer,
        patterns=supervisor,
        guard=common.admin_guard,
        validate=providers.Factory(PatternValidator, redactor=redactor),
    )
    control_options = providers.Singleton(ServerOptions, socket=socket_dir.provided.control_socket)
    control_services = providers.Singleton(
        ControlServices,
        servicer=providers.Factory(PatternControlServicer, control_plane),
        options=control_options,
    )
    control_server = providers.Singleton(
        server_on,
        settings.transport,
        services=control_services,
        options=control_options,
    )
    grpc_server = providers.Singleton(
        ProxyServer,
        calls=common.client_server,
        control=control_server,
        launcher=launcher,
        socket_dir=socket_dir,
    )
    redis_server = providers.Singleton(
        redis_server_of,
        settings=settings,
        admission=common.admission,
        request_log=common.request_log,
        observer=common.call_observer,
        readiness=common.readiness,
        access=common.access,
        databases=providers.Callable(
            pattern_gateways,
            patterns=supervisor,
            admission=common.admission,
            timeout=settings.default_timeout,
            access=common.access,
            record=common.operation_record,
        ),
        default=providers.Callable(first_database, settings=settings, patterns=supervisor),
        pattern_by=settings.resp_pattern_by,
    )
    commander = providers.Singleton(StandaloneCommander, lifecycle=common.lifecycle, settings={})
    collector = providers.Singleton(pattern_collector, supervisor=supervisor)
    page = providers.Singleton(
        proxy_page,
        configuration=configuration,
        patterns=supervisor,
        admission=common.admission,
        lifecycle=common.lifecycle,
        readiness=common.readiness,
        grpc_server=grpc_server,
        redis_server=redis_server,
        history=common.history,
        redact=redactor,
    )
    common.override_providers(
        driver=supervisor,
        key_value_servicer=forwarding_servicer,
        proxy_admin_servicer=proxy_admin_servicer,
        tallies=supervisor.provided.operation_tallies.items.call(),
        collector=collector,
        grpc_server=grpc_server,
        page=page,
        commander=commander,
        redis_server=redis_server,
        apply_secrets=providers.Callable(
            secrets_of_patterns, configuration=configuration, patterns=supervisor
        ),
    )
    lifecycle = common.lifecycle
    readiness = common.readiness
    application = common.application
