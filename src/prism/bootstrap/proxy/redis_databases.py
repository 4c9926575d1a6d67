"""Patterns of a proxy as databases of the port for Redis clients."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from prism.adapters.grpc.servicers.forwarding import CallWithin, forwarded_call
from prism.bootstrap.access import Access
from prism.bootstrap.proxy.settings import ProxySettings
from prism.domain.access.audit import Record
from prism.domain.admission import Admission
from prism.domain.patterns.pattern_gateway import PatternGateway
from prism.domain.patterns.supervisor import Supervisor

if TYPE_CHECKING:
    from prism.adapters.resp.session import Store


def pattern_gateways(
    patterns: Supervisor,
    admission: Admission,
    timeout: timedelta,
    access: Access | None,
    record: Record | None,
) -> dict[str, Store]:
    """Return the gateway to each pattern by its name, in the order of the patterns."""
    call = CallWithin(timeout)
    gateways = (
        PatternGateway(
            pattern.spec.name,
            pattern,
            admission,
            timeout=timeout,
            control=None if access is None else access.control,
            record=record,
            on_enter=partial(forwarded_call.set, call),
        )
        for pattern in patterns
    )
    # Its operations are made from their table.
    return {gateway.name: cast("Store", gateway) for gateway in gateways}


def first_database(settings: ProxySettings, patterns: Supervisor) -> str:
    """Return the pattern of a Redis client that has chosen none."""
    if settings.resp_pattern_by == "user":
        return patterns.default
    return next(iter(patterns)).spec.name
