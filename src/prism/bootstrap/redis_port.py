"""The port for Redis clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.sockets import default_max_connections
from prism.bootstrap.access import Access
from prism.bootstrap.settings import PatternBy, ServerSettings
from prism.domain.admission import Admission
from prism.domain.readiness import ReadinessMonitor
from prism.version import VERSION

if TYPE_CHECKING:
    from prism.adapters.resp.door import Observer
    from prism.adapters.resp.listener import RespServer
    from prism.adapters.resp.session import Store


def redis_server_of(
    settings: ServerSettings,
    admission: Admission,
    request_log: RequestLog,
    observer: Observer | None,
    readiness: ReadinessMonitor,
    access: Access | None,
    databases: Mapping[str, Store],
    default: str = "",
    pattern_by: PatternBy = "database",
) -> RespServer | None:
    """Return the server for Redis clients; None: the settings do not ask for one.

    Args:
        databases, default: see `Door`.
    """
    if not settings.serves_resp:
        return None
    # Only servers with this port pay for the imports.
    from prism.adapters.resp.door import Door, DoorOptions
    from prism.adapters.resp.listener import ListenerOptions, RespServer

    def count_keys() -> int | None:
        # A driver that knows the number of its keys reports it with its health.
        text = readiness.details.get("keys", "")
        return int(text) if text.isdecimal() else None

    server = settings.server_options
    options = DoorOptions(
        max_bytes=settings.max_message_bytes,
        max_per_connection=settings.max_in_flight_per_connection,
        default_timeout=settings.default_timeout,
        stall_timeout=settings.unread_reply_timeout,
        allow_flush=settings.resp_allow_flush,
        loose_transactions=settings.resp_transactions == "loose",
        pattern_by=pattern_by,
        version=VERSION,
    )
    listener = ListenerOptions(
        host=settings.resp_host or settings.host,
        port=settings.resp_port or 0,
        socket=settings.resp_socket,
        tls=server.tls,
        # The gRPC port takes half of the free descriptors by default, and this one a quarter.
        max_connections=settings.max_connections or default_max_connections() // 2,
        grace=server.grace,
    )
    door = Door(
        databases,
        admission,
        options,
        request_log,
        default=default,
        logins=None if access is None else access.logins,
        observer=observer,
        count_keys=count_keys,
    )
    return RespServer(door, listener)
