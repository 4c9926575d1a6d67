"""Every call that a server answers, by path, whatever carries it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from prism.adapters.grpc.calls import Call, CallObserver, calls_of
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.grpc.servicers import health, reflection
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.domain.readiness import ReadinessMonitor
from prism.v1 import keyvalue_pb2, lifecycle_pb2

KEY_VALUE = keyvalue_pb2.DESCRIPTOR.services_by_name["KeyValueService"]
LIFECYCLE = lifecycle_pb2.DESCRIPTOR.services_by_name["LifecycleService"]


class Services:
    """Prism's own services, the standard health service, and reflection.

    Args:
        observer: of our own services; probes and reflection would be noise.
        log: is told of calls that fail or are slow.

    Attributes:
        calls: by path, such as `/prism.v1.KeyValueService/Get`.
    """

    calls: Mapping[str, Call]

    def __init__(
        self,
        key_value: KeyValueServicer,
        lifecycle: LifecycleServicer,
        readiness: ReadinessMonitor,
        options: ServerOptions,
        observer: CallObserver | None = None,
        log: RequestLog | None = None,
    ) -> None:
        bounded = options.default_timeout
        serve = partial(calls_of, max_message_bytes=options.max_message_bytes, log=log)
        checks = health.HealthServicer(readiness, (KEY_VALUE.full_name,))
        calls = {
            **serve(KEY_VALUE, key_value, default_timeout=bounded, observer=observer),
            # A drain takes as long as it says, so only the caller's deadline holds.
            **serve(LIFECYCLE, lifecycle, default_timeout=None, observer=observer),
            **serve(health.SERVICE, checks, default_timeout=bounded),
        }
        if options.reflection:
            named = (KEY_VALUE.full_name, LIFECYCLE.full_name, health.SERVICE.full_name)
            describes = reflection.ReflectionServicer(named)
            calls |= serve(reflection.SERVICE, describes, default_timeout=None)
        self.calls = calls
