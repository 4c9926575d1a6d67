"""Patterns and their events for programs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prism.adapters.wire.proxy_messages import PatternInfo
    from prism.domain.patterns.values import DebugEvent, PatternEvent


def of_pattern(shown: PatternInfo) -> dict[str, Any]:
    status, is_default = shown
    registration, health = status.registration, status.health
    return {
        "name": status.name,
        "driver": status.driver,
        "driver_version": None if registration is None else registration.driver_version,
        "state": status.state,
        "reason": status.reason,
        "process_id": status.process_id,
        "serving_since": _moment(status.serving_since),
        "restarts": status.restarts,
        "in_flight": status.in_flight,
        "data_address": None if registration is None else registration.data_address,
        "metrics_address": (registration and registration.metrics_address) or None,
        "health": None
        if health is None
        else {
            "status": health.status,
            "message": health.message,
            "details": dict(health.details),
        },
        "is_default": is_default,
    }


def of_event(event: PatternEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time": _moment(event.time),
        "pattern": event.pattern,
        "kind": event.kind,
        "message": event.message,
        "details": dict(event.details),
    }


def of_debug_event(event: DebugEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time": _moment(event.time),
        "level": event.level,
        "kind": event.kind,
        "message": event.message,
        "details": dict(event.details),
        "dropped": event.dropped,
    }


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
