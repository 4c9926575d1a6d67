"""The patterns of a proxy: how each is, and what has happened to them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice

from prism.adapters.observability.page import texts
from prism.adapters.observability.page.values import Column, Mark, Section, Table, Text, Tone
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind, PatternState, PatternStatus
from prism.ports import HealthStatus

_KEPT = 50

_BAD_STATES = (PatternState.CRASH_LOOP, PatternState.FAILED, PatternState.STOPPED)
_HEALTH = {
    HealthStatus.HEALTHY: Tone.GOOD,
    HealthStatus.DEGRADED: Tone.CAUTION,
    HealthStatus.UNHEALTHY: Tone.BAD,
}
_TONES = {
    EventKind.SERVING: Tone.GOOD,
    EventKind.REPLACED: Tone.GOOD,
    EventKind.RETURNED: Tone.GOOD,
    EventKind.REFUSED: Tone.BAD,
    EventKind.FAILED: Tone.BAD,
    EventKind.CRASH_LOOP: Tone.BAD,
    EventKind.LOST: Tone.CAUTION,
    EventKind.BACKING_OFF: Tone.CAUTION,
    EventKind.HEALTH: Tone.CAUTION,
    EventKind.KEPT: Tone.CAUTION,
}


def patterns(known: Supervisor) -> Section:
    """A row for each."""
    now = datetime.now(UTC)
    table = Table(
        caption=f"Calls that name no pattern go to {known.default}",
        columns=(
            ("Pattern", Column.NAME),
            ("Driver", Column.NAME),
            ("State", Column.WORDS),
            ("Health", Column.WORDS),
            ("Process", Column.NUMBER),
            ("Serves for", Column.WORDS),
            ("Restarts", Column.NUMBER),
            ("In flight", Column.NUMBER),
            ("Reason", Column.WORDS),
        ),
        rows=[_row(each.status, now) for each in known],
        empty="",
    )
    return Section([table])


def pattern_events(journal: Journal) -> Section:
    """What has happened to them."""
    now = time.time()
    table = Table(
        caption=f"The last {_KEPT} events, the latest first",
        columns=(
            ("Time (UTC)", Column.MOMENT),
            ("Pattern", Column.NAME),
            ("Event", Column.WORDS),
            ("What", Column.WORDS),
        ),
        rows=[
            (
                texts.moment(each.time.timestamp(), now),
                each.pattern,
                _mark(each.kind),
                each.message,
            )
            for each in islice(reversed(journal.events()), _KEPT)
        ],
        empty="There were none.",
    )
    return Section([table])


def _row(status: PatternStatus, now: datetime) -> tuple[Text, ...]:
    health: Text = "-"
    why = status.reason
    if status.health is not None:
        health = Mark(status.health.status, _HEALTH[status.health.status])
        if status.health.status is not HealthStatus.HEALTHY:
            why = why or status.health.message
    since = status.serving_since
    return (
        status.name,
        status.driver,
        Mark(status.state.words, _tone_of(status.state)),
        health,
        str(status.process_id or "-"),
        "-" if since is None else texts.duration(max((now - since).total_seconds(), 0.0)),
        f"{status.restarts:,}",
        f"{status.in_flight:,}",
        why,
    )


def _tone_of(state: PatternState) -> Tone:
    if state is PatternState.SERVING:
        return Tone.GOOD
    return Tone.BAD if state in _BAD_STATES else Tone.CAUTION


def _mark(kind: EventKind) -> Text:
    words = kind.replace("_", " ")
    return Mark(words, _TONES[kind]) if kind in _TONES else words
