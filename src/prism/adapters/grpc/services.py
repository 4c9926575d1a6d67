"""Every call that a server answers, by path, whatever carries it."""

from __future__ import annotations

from collections.abc import Mapping

from prism.adapters.grpc.calls import Call, calls_of
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
    ) -> None:
        size = options.max_message_bytes
        bounded = options.default_timeout
        checks = health.HealthServicer(readiness, (KEY_VALUE.full_name,))
        calls = {
            **calls_of(KEY_VALUE, key_value, default_timeout=bounded, max_message_bytes=size),
            # A drain takes as long as it says, so only the caller's deadline holds.
            **calls_of(LIFECYCLE, lifecycle, default_timeout=None, max_message_bytes=size),
            **calls_of(health.SERVICE, checks, default_timeout=bounded, max_message_bytes=size),
        }
        if options.reflection:
            named = (KEY_VALUE.full_name, LIFECYCLE.full_name, health.SERVICE.full_name)
            describes = reflection.ReflectionServicer(named)
            calls |= calls_of(
                reflection.SERVICE, describes, default_timeout=None, max_message_bytes=size
            )
        self.calls = calls
