"""All calls that a server answers, by path, for any transport."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from google.protobuf.message import Message

from prism.adapters.grpc.calls import Authenticate, Call, CallObserver, UnaryHandler, calls_of
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers import health, reflection
from prism.adapters.grpc.servicers.forwarding import ForwardingServicer
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.servicers.pattern_control import PatternControlServicer
from prism.adapters.grpc.servicers.proxy_admin import ProxyAdminServicer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.domain.access.audit import Record, event_of_caller, recorded
from prism.domain.readiness import ReadinessMonitor
from prism.v1 import keyvalue_pb2, lifecycle_pb2, pattern_pb2, proxy_pb2

KEY_VALUE = keyvalue_pb2.DESCRIPTOR.services_by_name["KeyValueService"]
LIFECYCLE = lifecycle_pb2.DESCRIPTOR.services_by_name["LifecycleService"]
PATTERN_CONTROL = pattern_pb2.DESCRIPTOR.services_by_name["PatternControlService"]
PROXY_ADMIN = proxy_pb2.DESCRIPTOR.services_by_name["ProxyAdminService"]

_COMMANDS = frozenset(
    {"Initialize", "Start", "Drain", "Stop", "RestartPattern", "DrainPattern", "ReplacePattern"}
)


class Served(Protocol):
    """Calls for a transport to serve."""

    @property
    def calls(self) -> Mapping[str, Call]:
        """Calls by path."""
        ...


class ControlServices:
    """Services of a proxy for its own patterns only."""

    def __init__(self, servicer: PatternControlServicer, options: ServerOptions) -> None:
        self.calls: Mapping[str, Call] = calls_of(
            PATTERN_CONTROL,
            servicer,
            # A pattern keeps its stream open for as long as it runs.
            default_timeout=None,
            max_message_bytes=options.max_message_bytes,
        )


class Services:
    """Prism's own services, the standard health service, and reflection.

    Args:
        observer: observer of Prism's own services; probes and reflection would be noise.
        log: log of calls that fail or are slow.
        proxy_admin: administration of a proxy's patterns; None: not a proxy.
        authenticate: identifies the callers of Prism's own services; None: callers stay anonymous.
        record: writes commands to the audit log; None: there is none.

    Attributes:
        calls: calls by path, such as `/prism.v1.KeyValueService/Get`.
    """

    calls: Mapping[str, Call]

    def __init__(
        self,
        key_value: KeyValueServicer | ForwardingServicer,
        lifecycle: LifecycleServicer,
        readiness: ReadinessMonitor,
        options: ServerOptions,
        observer: CallObserver | None = None,
        log: RequestLog | None = None,
        proxy_admin: ProxyAdminServicer | None = None,
        authenticate: Authenticate | None = None,
        record: Record | None = None,
    ) -> None:
        timeout = options.default_timeout
        serve = partial(calls_of, max_message_bytes=options.max_message_bytes, log=log)
        serve_own = partial(serve, observer=observer, authenticate=authenticate)
        around = None if record is None else partial(_audited, record=record)
        checks = health.HealthServicer(readiness, (KEY_VALUE.full_name,))
        calls = {
            **serve_own(
                KEY_VALUE,
                key_value,
                default_timeout=timeout,
                check_pattern=key_value.route_of,
            ),
            # A drain has a timeout of its own, so only the caller's deadline applies.
            **serve_own(LIFECYCLE, lifecycle, default_timeout=None, around=around),
            **serve(health.SERVICE, checks, default_timeout=timeout),
        }
        served = [KEY_VALUE, LIFECYCLE, health.SERVICE]
        if proxy_admin is not None:
            served.append(PROXY_ADMIN)
            calls |= serve_own(PROXY_ADMIN, proxy_admin, default_timeout=None, around=around)
        if options.reflection:
            describes = reflection.ReflectionServicer([each.full_name for each in served])
            calls |= serve(reflection.SERVICE, describes, default_timeout=None)
        self.calls = calls


def _audited(path: str, handler: UnaryHandler, record: Record) -> UnaryHandler:
    """Return a handler that records its call, if the method is a command."""
    method = path.rpartition("/")[2]
    if method not in _COMMANDS:
        return handler

    async def handle(request: Any, context: CallContext) -> Message:
        name = getattr(request, "name", "")
        with recorded(record, partial(event_of_caller, "command", method, pattern=name)):
            return await handler(request, context)

    return handle
