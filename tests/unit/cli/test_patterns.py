"""Text of patterns is escaped in tables and lines for people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prism.adapters.wire.proxy_messages import PatternDetails, PatternInfo
from prism.cli import pattern_output
from prism.domain.patterns.values import (
    DebugEvent,
    DebugKind,
    DebugLevel,
    EventKind,
    PatternEvent,
    PatternState,
    PatternStatus,
)
from prism.ports import Health, HealthStatus

NOON = datetime(2030, 1, 2, 12, 0, 0, 1000, tzinfo=UTC)
ODD = "red \x1b[31m\nsecond line"
EVENT = PatternEvent(7, NOON, "a", EventKind.FAILED, ODD)
SHOWN = PatternInfo(
    PatternStatus(
        name="a",
        driver="redis",
        state=PatternState.BACKING_OFF,
        reason=ODD,
        process_id=None,
        registration=None,
        serving_since=None,
        restarts=0,
        health=Health(HealthStatus.DEGRADED, ODD, {ODD: ODD}),
        in_flight=0,
    ),
    True,
)


def test_control_characters_of_patterns_are_escaped() -> None:
    debug = DebugEvent(1, NOON, DebugLevel.INFO, DebugKind.LOG, ODD, {ODD: ODD})
    lines = [
        *pattern_output.table_lines([SHOWN]),
        *pattern_output.details_lines(PatternDetails(SHOWN, [EVENT], [debug])),
        pattern_output.event_line(EVENT),
    ]
    written = "\n".join(lines)
    assert "\x1b" not in written
    assert written.count("\n") == len(lines) - 1
    # The reason twice, the event twice, and health and debug event with a detail each.
    assert written.count(r"red \x1b[31m\nsecond line") == 10


def test_unhealthy_pattern_has_the_reason_under_its_row() -> None:
    health = Health(HealthStatus.UNHEALTHY, "its driver is draining")
    status = replace(SHOWN.status, state=PatternState.SERVING, reason="", health=health)
    assert "  its driver is draining" in pattern_output.table_lines([PatternInfo(status, True)])
    well = replace(status, health=Health(HealthStatus.HEALTHY, "all is well"))
    assert "  all is well" not in pattern_output.table_lines([PatternInfo(well, True)])
