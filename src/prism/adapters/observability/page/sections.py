"""The sections of the page, each made from the current state of the part that it shows."""

from __future__ import annotations

import math
import os
import platform
import socket
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate, islice, pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

from google.rpc import code_pb2

from prism.adapters.observability.formatting import duration, latency, moment, rate
from prism.adapters.observability.page.history import (
    MAX_EVENTS,
    MAX_FAILURES,
    MAX_SAMPLES,
    Counts,
    Failure,
    LifecycleEvent,
    OperationSamples,
    Sample,
)
from prism.adapters.observability.page.page import (
    Badge,
    Chart,
    ColumnKind,
    Facts,
    Headline,
    Section,
    Table,
    Text,
    Tone,
)
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.values import EventKind, PatternState, PatternStatus
from prism.domain.readiness import ReadinessMonitor
from prism.domain.tallies import OPERATION_BOUNDS_S
from prism.domain.watches import Watches
from prism.ports import Capability, Declaration, HealthStatus, Profile, State, VersionKind
from prism.ports.text import counted

if TYPE_CHECKING:
    from prism.domain.patterns.journal import Journal
    from prism.domain.patterns.supervisor import Supervisor

_WINDOW_SAMPLES = 30
_PERCENTS = (50, 90, 99)
_MIN_CHART_INTERVAL_S = 1.0
_MAX_PATTERN_EVENTS = 50

_STATE_TONES = {State.RUNNING: Tone.GOOD, State.STOPPED: Tone.BAD, State.FAILED: Tone.BAD}
_HEALTH_TONES = {
    HealthStatus.HEALTHY: Tone.GOOD,
    HealthStatus.DEGRADED: Tone.CAUTION,
    HealthStatus.UNHEALTHY: Tone.BAD,
}
_PATTERN_STATE_TONES = {
    PatternState.SERVING: Tone.GOOD,
    PatternState.CRASH_LOOP: Tone.BAD,
    PatternState.FAILED: Tone.BAD,
    PatternState.STOPPED: Tone.BAD,
}
_EVENT_TONES = {
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
_VERSION_NOTES = {
    VersionKind.REVISION: "Versions are revisions: an equal version means no write in between.",
    VersionKind.DIGEST: "Versions are digests: an equal version means an equal value.",
}
_OPERATIONS_NOTE = (
    "Latencies are those of the backend, read from the histogram buckets in /metrics: "
    "“≤ 5 ms” means between the next lower bound and 5 ms. A batch is one operation."
)


class Setting(NamedTuple):
    """One setting as the page shows it.

    Attributes:
        name: path of the setting in a config file.
        text: value without secrets; None: no value.
        origin: source of the value, in words.
    """

    name: str
    text: str | None
    origin: str


def headline(subject: str, lifecycle: LifecycleMachine, readiness: ReadinessMonitor) -> Headline:
    """The overall state, and the reason if it is a bad one."""
    state, now = lifecycle.current, readiness.current
    if state is State.RUNNING and not now.ready:
        return Headline(subject, Badge("running, not ready", Tone.BAD), now.reason)
    return Headline(
        subject, _state_badge(state), lifecycle.failure if state is State.FAILED else ""
    )


class RedisPort(Protocol):
    """Port for Redis clients.

    Attributes:
        address: where it listens; empty before it does.
        connections: number of open connections.
    """

    address: str

    @property
    def connections(self) -> int: ...


def server_section(
    admission: Admission,
    watches: Watches | None,
    readiness: ReadinessMonitor,
    *,
    version: str,
    addresses: Sequence[str],
    redis_port: RedisPort | None,
    uptime_s: float,
) -> Section:
    """The server process.

    Args:
        watches: None in a proxy, whose patterns count their own.
        version: version of Prism.
        addresses: addresses of the gRPC server; empty before it listens.
        redis_port: port for Redis clients; None: there is none.
    """
    ready = readiness.current.ready
    watching = []
    if watches is not None:
        watching.append(("Watches", f"{watches.active:,} of {watches.max_watches:,}"))
    clients = []
    if redis_port is not None:
        count = counted(redis_port.connections, "connection")
        clients.append(("Redis clients", f"{count} at {redis_port.address or 'no address yet'}"))
    facts = Facts(
        (
            ("Ready", Badge("yes", Tone.GOOD) if ready else Badge("no", Tone.BAD)),
            ("Uptime", duration(uptime_s)),
            ("In flight", f"{admission.in_flight:,} of {admission.max_in_flight:,}"),
            *watching,
            ("Refused: not running", f"{admission.refused:,}"),
            ("Refused: too many", f"{admission.shed:,}"),
            ("gRPC", ", ".join(addresses) or "not served yet"),
            *clients,
            ("Prism", version),
            ("Host", socket.gethostname()),
            ("Process", str(os.getpid())),
            ("Python", platform.python_version()),
        )
    )
    return Section([facts])


def operations_section(samples: OperationSamples) -> Section:
    """Rates and latencies of the last minute, and totals since the start."""
    kept, now = list(samples), samples.now()
    earlier = kept[-_WINDOW_SAMPLES:][0]
    elapsed_s = now.at_s - earlier.at_s
    table = Table(
        caption=f"Rates and latencies of the last {duration(elapsed_s)}, totals since the start",
        columns=(
            ("Operation", ColumnKind.NAME),
            ("Per second", ColumnKind.NUMBER),
            *((f"p{percent}", ColumnKind.NUMBER) for percent in _PERCENTS),
            ("Failed", ColumnKind.NUMBER),
            ("Total", ColumnKind.NUMBER),
            ("Total failed", ColumnKind.NUMBER),
        ),
        rows=[
            _operation_row(name, total, total.since(earlier.counts[name]), elapsed_s)
            for name, total in now.counts.items()
            if total.total
        ],
        empty="No operations since the start.",
    )
    return Section([*_rate_chart([*kept, now]), table], _OPERATIONS_NOTE)


def percentile_s(counts: Counts, percent: float) -> float:
    """Return the upper bound of the bucket with the percentile; infinite for the last bucket."""
    rank = max(1, math.ceil(counts.total * percent / 100))
    bucket = bisect_left(list(accumulate(counts.ended)), rank)
    return OPERATION_BOUNDS_S[bucket] if bucket < len(OPERATION_BOUNDS_S) else math.inf


def failures_section(failures: Iterable[Failure]) -> Section:
    """Recent failures with their messages; the log omits those that are the caller's fault."""
    now = time.time()
    table = Table(
        caption=f"The last {MAX_FAILURES} kinds of failure, latest first",
        columns=(
            ("Last time (UTC)", ColumnKind.MOMENT),
            ("Method", ColumnKind.NAME),
            ("Code", ColumnKind.NAME),
            ("Times", ColumnKind.NUMBER),
            ("Message", ColumnKind.VERBATIM),
        ),
        rows=[
            (
                moment(failure.last, now),
                failure.path.rpartition(".")[2],
                code_pb2.Code.Name(failure.code),
                f"{failure.times:,}",
                failure.message,
            )
            for failure in failures
        ],
        empty="No request has failed since the start.",
    )
    return Section([table], "A message may quote what a caller sent." if table.rows else "")


def lifecycle_section(events: Iterable[LifecycleEvent]) -> Section:
    """Changes of state and readiness, with their reasons."""
    now = time.time()
    table = Table(
        caption=f"The last {MAX_EVENTS} events, latest first",
        columns=(
            ("Time (UTC)", ColumnKind.MOMENT),
            ("Event", ColumnKind.WORDS),
            ("Reason", ColumnKind.WORDS),
        ),
        rows=[(moment(each.at, now), _change_badge(each.change), each.reason) for each in events],
        empty="No events yet.",
    )
    return Section([table])


def backend_section(readiness: ReadinessMonitor) -> Section:
    """Return the section with the report of the last health check."""
    health = readiness.health
    if health is None:
        return Section([], "Health checks start when the driver runs, one every two seconds.")
    pairs: list[tuple[str, Text]] = [("Health", Badge(health.status, _HEALTH_TONES[health.status]))]
    for name, text in health.details.items():
        number = f"{int(text):,}" if text.isdecimal() else text
        pairs.append((name.replace("_", " ").capitalize(), number))
    return Section([Facts(pairs)], f"At the last check: {health.message}.")


def capabilities_section(gateway: Gateway) -> Section:
    """Return the section with the declarations of the driver and the limits in effect."""
    profile = gateway.profile
    limits = profile.limits
    table = Table(
        caption="What the driver supports beyond get, set, delete and exists",
        columns=(
            ("Capability", ColumnKind.NAME),
            ("Support", ColumnKind.WORDS),
            ("Notes", ColumnKind.WORDS),
        ),
        rows=[_capability_row(each, profile) for each in Capability],
        empty="",
    )
    facts = Facts(
        (
            ("Largest value", _size(limits.max_value_bytes)),
            ("Longest key", _size(limits.max_key_bytes)),
            ("Largest batch", f"{limits.max_batch_items:,} items"),
            ("Largest batch or reply", _size(limits.max_batch_bytes)),
            ("Largest page", f"{limits.max_page_size:,} keys"),
        )
    )
    return Section([table, facts], _VERSION_NOTES[profile.version_kind])


def settings_section(settings: Iterable[Setting]) -> Section:
    """The settings as `prism config show` prints them."""
    table = Table(
        caption="Effective settings and their sources; secrets are hidden",
        columns=(
            ("Setting", ColumnKind.NAME),
            ("Value", ColumnKind.VERBATIM),
            ("Source", ColumnKind.WORDS),
        ),
        rows=[
            (each.name, "-" if each.text is None else each.text, each.origin) for each in settings
        ],
        empty="There are none.",
    )
    return Section([table])


def patterns_section(patterns: Supervisor) -> Section:
    """The patterns of a proxy, one row each."""
    now = datetime.now(UTC)
    table = Table(
        caption=f"Calls that name no pattern go to {patterns.default}",
        columns=(
            ("Pattern", ColumnKind.NAME),
            ("Driver", ColumnKind.NAME),
            ("State", ColumnKind.WORDS),
            ("Health", ColumnKind.WORDS),
            ("Process", ColumnKind.NUMBER),
            ("Serving for", ColumnKind.WORDS),
            ("Restarts", ColumnKind.NUMBER),
            ("In flight", ColumnKind.NUMBER),
            ("Reason", ColumnKind.WORDS),
        ),
        rows=[_pattern_row(each.status, now) for each in patterns],
        empty="",
    )
    return Section([table])


def pattern_events_section(journal: Journal) -> Section:
    """The latest events of a proxy's patterns."""
    now = time.time()
    table = Table(
        caption=f"The last {_MAX_PATTERN_EVENTS} events, latest first",
        columns=(
            ("Time (UTC)", ColumnKind.MOMENT),
            ("Pattern", ColumnKind.NAME),
            ("Event", ColumnKind.WORDS),
            ("What happened", ColumnKind.WORDS),
        ),
        rows=[
            (moment(each.time.timestamp(), now), each.pattern, _event_text(each.kind), each.message)
            for each in islice(reversed(journal.events()), _MAX_PATTERN_EVENTS)
        ],
        empty="No events yet.",
    )
    return Section([table])


def _state_badge(state: State) -> Badge:
    return Badge(state, _STATE_TONES.get(state, Tone.CAUTION))


def _change_badge(change: State | bool) -> Badge:
    if isinstance(change, State):
        return _state_badge(change)
    return Badge("ready", Tone.GOOD) if change else Badge("not ready", Tone.CAUTION)


def _event_text(kind: EventKind) -> Text:
    words = kind.replace("_", " ")
    return Badge(words, _EVENT_TONES[kind]) if kind in _EVENT_TONES else words


def _operation_row(name: str, total: Counts, recent: Counts, elapsed_s: float) -> list[str]:
    return [
        name,
        rate(recent.total / elapsed_s if elapsed_s else 0.0),
        *(_percentile_text(recent, percent) for percent in _PERCENTS),
        f"{recent.failed:,}",
        f"{total.total:,}",
        f"{total.failed:,}",
    ]


def _percentile_text(counts: Counts, percent: float) -> str:
    if not counts.total:
        return "-"
    bound_s = percentile_s(counts, percent)
    if bound_s == math.inf:
        return f"> {latency(OPERATION_BOUNDS_S[-1])}"
    return f"≤ {latency(bound_s)}"


def _rate_chart(samples: Sequence[Sample]) -> list[Chart]:
    intervals = [
        (then, now)
        for then, now in pairwise(samples)
        if now.at_s - then.at_s >= _MIN_CHART_INTERVAL_S
    ][-MAX_SAMPLES:]
    rates = [(now.total - then.total) / (now.at_s - then.at_s) for then, now in intervals]
    if not any(rates):
        return []
    highest = max(rates)
    length_s = intervals[-1][1].at_s - intervals[0][0].at_s
    summary = (
        f"Operations per second over the last {duration(length_s)}: "
        f"{rate(rates[-1])} now, {rate(highest)} at most"
    )
    return [Chart(summary, [each / highest for each in rates], MAX_SAMPLES)]


def _capability_row(capability: Capability, profile: Profile) -> tuple[Text, ...]:
    declared = profile.capabilities.get(capability)
    if declared is None:
        return (capability, Badge("none", Tone.CAUTION), profile.hints.get(capability, ""))
    return (capability, Badge(declared.support, Tone.GOOD), _capability_notes(capability, declared))


def _capability_notes(capability: Capability, declared: Declaration) -> str:
    notes = []
    if declared.granularity:
        notes.append(f"Rounded to {latency(declared.granularity.total_seconds())}.")
    if declared.clock_error:
        error = latency(declared.clock_error.total_seconds())
        notes.append(f"The backend's clock is known to within {error}.")
    if capability is Capability.WATCH:
        notes.append("Puts carry values." if declared.event_values else "Puts carry keys only.")
        if declared.event_delay is None:
            notes.append("Expiries are reported without a time bound.")
        else:
            bound = latency(declared.event_delay.total_seconds())
            notes.append(f"Expiries are reported within {bound}.")
    return " ".join([*notes, declared.notes])


def _size(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count:,} bytes"


def _pattern_row(status: PatternStatus, now: datetime) -> tuple[Text, ...]:
    health: Text = "-"
    reason = status.reason
    if status.health is not None:
        health = Badge(status.health.status, _HEALTH_TONES[status.health.status])
        if status.health.status is not HealthStatus.HEALTHY:
            reason = reason or status.health.message
    since = status.serving_since
    return (
        status.name,
        status.driver,
        Badge(status.state.label, _PATTERN_STATE_TONES.get(status.state, Tone.CAUTION)),
        health,
        str(status.process_id or "-"),
        "-" if since is None else duration(max((now - since).total_seconds(), 0.0)),
        f"{status.restarts:,}",
        f"{status.in_flight:,}",
        reason,
    )
