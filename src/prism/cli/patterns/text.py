"""Patterns and their events for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prism.adapters.observability.formatting import duration, escaped
from prism.cli.config import align
from prism.ports import Health, HealthStatus

if TYPE_CHECKING:
    from prism.adapters.wire.proxy_messages import PatternDetails, PatternInfo
    from prism.domain.patterns.values import DebugEvent, PatternEvent, PatternStatus

_HEAD = ("NAME", "DRIVER", "STATE", "HEALTH", "PROCESS", "SERVES FOR", "RESTARTS", "IN FLIGHT")
_EVENTS = 20


def table_of(patterns: Sequence[PatternInfo]) -> Iterator[str]:
    """A row for each, and under it why it does not fare well."""
    head, *rows = align([_HEAD, *(_row(each) for each in patterns)])
    yield head
    for row, (status, _) in zip(rows, patterns, strict=True):
        yield row
        if why := status.reason or _ailment(status.health):
            yield f"  {escaped(why)}"
    yield from (
        f"calls that name no pattern go to {status.name}"
        for status, is_default in patterns
        if is_default
    )


def lines_of(told: PatternDetails) -> Iterator[str]:
    """All that is known of one."""
    status = told.pattern.status
    registration = status.registration
    because = f": {escaped(status.reason)}" if status.reason else ""
    yield f"{status.name} is {status.state.label}{because}"
    version = f" {registration.driver_version}" if registration is not None else ""
    facts = [
        ("driver", f"{status.driver}{version}"),
        ("process", str(status.process_id or "-")),
        ("serves for", _uptime(status)),
        ("restarts", f"{status.restarts:,}"),
        ("in flight", f"{status.in_flight:,}"),
        ("data", registration.data_address if registration is not None else "-"),
        ("metrics", (registration and registration.metrics_address) or "-"),
        ("default", "yes" if told.pattern.is_default else "no"),
    ]
    if status.health is not None:
        facts.append(("health", f"{status.health.status}: {status.health.message}"))
        details = sorted(status.health.details.items())
        facts += [(f"  {escaped(name)}", text) for name, text in details]
    yield from (f"  {line}" for line in align([(name, escaped(text)) for name, text in facts]))
    yield from _tail("events", [line_of_event(each) for each in told.events])
    yield from _tail("told by the pattern", [_line_of_debug(each) for each in told.debug_events])


def line_of_event(event: PatternEvent) -> str:
    kind = event.kind.replace("_", " ")
    return f"{_time(event.time)}  {event.pattern}  {kind}: {escaped(event.message)}"


def _ailment(health: Health | None) -> str:
    """Empty: it is well, as far as is known."""
    return "" if health is None or health.status is HealthStatus.HEALTHY else health.message


def _row(shown: PatternInfo) -> tuple[str, ...]:
    status = shown.status
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


def _tail(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:" if len(lines) <= _EVENTS else f"{title}, the last {_EVENTS}:"
        yield from (f"  {line}" for line in lines[-_EVENTS:])


def _line_of_debug(event: DebugEvent) -> str:
    details = "".join(f" {name}={text}" for name, text in sorted(event.details.items()))
    dropped = f" ({event.dropped:,} before it were dropped)" if event.dropped else ""
    said = escaped(f"{event.message}{details}")
    return f"{_time(event.time)}  {event.level:7}  {said}{dropped}"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
