"""Patterns and their events as lines for people and as JSON fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prism.adapters.observability.formatting import duration, escaped
from prism.cli.streams import columns
from prism.ports import Health, HealthStatus
from prism.ports.text import counted

if TYPE_CHECKING:
    from prism.adapters.wire.proxy_messages import PatternDetails, PatternInfo
    from prism.domain.patterns.values import DebugEvent, PatternEvent, PatternStatus

_HEAD = ("NAME", "DRIVER", "STATE", "HEALTH", "PROCESS", "SERVES FOR", "RESTARTS", "IN FLIGHT")
_EVENTS = 20


def table_lines(patterns: Sequence[PatternInfo]) -> Iterator[str]:
    """Yield a table with one row for each pattern; a line below a row says what is wrong."""
    head, *rows = columns([_HEAD, *(_row(each) for each in patterns)])
    yield head
    for row, (status, _) in zip(rows, patterns, strict=True):
        yield row
        if problem := status.reason or _health_problem(status.health):
            yield f"  {escaped(problem)}"
    yield from (
        f"calls that name no pattern go to {status.name}"
        for status, is_default in patterns
        if is_default
    )


def details_lines(details: PatternDetails) -> Iterator[str]:
    """Yield all that is known of one pattern."""
    status = details.pattern.status
    registration = status.registration
    reason = f": {escaped(status.reason)}" if status.reason else ""
    yield f"{status.name} is {status.state.label}{reason}"
    version = f" {registration.driver_version}" if registration is not None else ""
    facts = [
        ("driver", f"{status.driver}{version}"),
        ("process", str(status.process_id or "-")),
        ("serves for", _uptime(status)),
        ("restarts", f"{status.restarts:,}"),
        ("in flight", f"{status.in_flight:,}"),
        ("data", registration.data_address if registration is not None else "-"),
        ("metrics", (registration and registration.metrics_address) or "-"),
        ("default", "yes" if details.pattern.is_default else "no"),
    ]
    if status.health is not None:
        facts.append(("health", f"{status.health.status}: {status.health.message}"))
        health_details = sorted(status.health.details.items())
        facts += [(f"  {escaped(name)}", text) for name, text in health_details]
    yield from (f"  {line}" for line in columns([(name, escaped(text)) for name, text in facts]))
    yield from _latest("events", [event_line(each) for each in details.events])
    yield from _latest("debug events", [_debug_event_line(each) for each in details.debug_events])


def event_line(event: PatternEvent) -> str:
    kind = event.kind.replace("_", " ")
    return f"{_time(event.time)}  {event.pattern}  {kind}: {escaped(event.message)}"


def pattern_fields(pattern: PatternInfo) -> dict[str, object]:
    status, is_default = pattern
    registration, health = status.registration, status.health
    return {
        "name": status.name,
        "driver": status.driver,
        "driver_version": None if registration is None else registration.driver_version,
        "state": status.state,
        "reason": status.reason,
        "process_id": status.process_id,
        "serving_since": None if status.serving_since is None else _time(status.serving_since),
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


def details_fields(details: PatternDetails) -> dict[str, object]:
    return {
        **pattern_fields(details.pattern),
        "events": [event_fields(each) for each in details.events],
        "debug_events": [_debug_event_fields(each) for each in details.debug_events],
    }


def event_fields(event: PatternEvent) -> dict[str, object]:
    return {
        "sequence": event.sequence,
        "time": _time(event.time),
        "pattern": event.pattern,
        "kind": event.kind,
        "message": event.message,
        "details": dict(event.details),
    }


def _debug_event_fields(event: DebugEvent) -> dict[str, object]:
    return {
        "sequence": event.sequence,
        "time": _time(event.time),
        "level": event.level,
        "kind": event.kind,
        "message": event.message,
        "details": dict(event.details),
        "dropped": event.dropped,
    }


def _debug_event_line(event: DebugEvent) -> str:
    details = "".join(f" {name}={text}" for name, text in sorted(event.details.items()))
    dropped = (
        f" (dropped before this one: {counted(event.dropped, 'event')})" if event.dropped else ""
    )
    message = escaped(f"{event.message}{details}")
    return f"{_time(event.time)}  {event.level:7}  {message}{dropped}"


def _health_problem(health: Health | None) -> str:
    """Return what is wrong; empty if the pattern is healthy or not yet checked."""
    return "" if health is None or health.status is HealthStatus.HEALTHY else health.message


def _row(pattern: PatternInfo) -> tuple[str, ...]:
    status = pattern.status
    return (
        status.name,
        status.driver,
        status.state.label,
        status.health.status if status.health is not None else "-",
        str(status.process_id or "-"),
        _uptime(status),
        f"{status.restarts:,}",
        f"{status.in_flight:,}",
    )


def _uptime(status: PatternStatus) -> str:
    if status.serving_since is None:
        return "-"
    return duration(max((datetime.now(UTC) - status.serving_since).total_seconds(), 0.0))


def _latest(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:" if len(lines) <= _EVENTS else f"{title}, the last {_EVENTS}:"
        yield from (f"  {line}" for line in lines[-_EVENTS:])


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
