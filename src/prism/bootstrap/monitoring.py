"""Metrics and HTTP endpoints of a server and of a proxy.

prometheus-client takes a tenth of a second to import, so each function imports what it needs:
metrics may be off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prism.adapters.grpc.servicers.forwarding import ForwardingServicer
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.services import Services
from prism.adapters.observability.endpoints import Endpoints, EndpointServer
from prism.adapters.observability.page.history import History
from prism.bootstrap.settings import ServerSettings
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import DriverSpec
from prism.version import VERSION

if TYPE_CHECKING:
    from prism.adapters.grpc.transports.grpcio import GrpcioServer
    from prism.adapters.grpc.transports.h2corn import H2cornServer
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.metrics.patterns import PatternCollector
    from prism.adapters.observability.metrics.server import DriverCollector
    from prism.adapters.resp.listener import RespServer
    from prism.domain.patterns.supervisor import Supervisor


def driver_collector(
    spec: DriverSpec, gateway: Gateway, readiness: ReadinessMonitor
) -> DriverCollector:
    """Return the collector of a server's driver."""
    from prism.adapters.observability.metrics.server import DriverCollector

    return DriverCollector(spec.name, spec.version, gateway, readiness)


def pattern_collector(supervisor: Supervisor) -> PatternCollector:
    """Return the collector of a proxy's patterns."""
    from prism.adapters.observability.metrics.patterns import PatternCollector

    return PatternCollector(supervisor, VERSION)


def metrics_of(
    services: Services,
    key_value: KeyValueServicer | ForwardingServicer,
    backend: DriverCollector | PatternCollector,
    admission: Admission,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    listener: GrpcioServer | H2cornServer,
    redis_server: RespServer | None,
) -> Metrics:
    """Return the metrics of a process."""
    from prism.adapters.observability.metrics.exposition import Metrics
    from prism.adapters.observability.metrics.server import (
        RedisCollector,
        RpcCollector,
        ServerCollector,
    )

    door = None if redis_server is None else redis_server.door
    rpc = RpcCollector(
        services.calls.values(), key_value.kinds.values(), () if door is None else door.commands
    )
    server = ServerCollector(VERSION, admission, lifecycle, readiness, listener)
    redis = [] if door is None else [RedisCollector(door)]
    return Metrics((rpc, backend, server, *redis))


def endpoint_server_of(
    settings: ServerSettings, endpoints: Callable[[], Endpoints], history: History
) -> EndpointServer | None:
    """Return the HTTP server of a process; None: it has no metrics."""
    if not settings.metrics:
        return None
    return EndpointServer(
        endpoints(),
        history.operations,
        settings.metrics_host or settings.host,
        settings.metrics_port,
    )
