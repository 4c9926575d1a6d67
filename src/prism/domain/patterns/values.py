"""Values of pattern supervision: specifications, policy, states, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from prism.domain.watches import MAX_WATCHES
from prism.ports import Capability, Health, Limits, State


class PatternState(StrEnum):
    """State of a pattern, as its proxy sees it.

    launching → starting → serving → draining → stopping → stopped. After a failure a
    pattern is backing off, or in a crash loop, until it is launched again. It has failed
    when its configuration prevents every start.
    """

    LAUNCHING = "launching"
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKING_OFF = "backing_off"
    CRASH_LOOP = "crash_loop"
    FAILED = "failed"

    @property
    def label(self) -> str:
        """The name for people, such as `backing off`."""
        return self.value.replace("_", " ")


class EventKind(StrEnum):
    """Kind of an event; `proto/prism/v1/proxy.proto` describes each."""

    LAUNCHED = "launched"
    REGISTERED = "registered"
    REFUSED = "refused"
    INITIALIZED = "initialized"
    STARTED = "started"
    SERVING = "serving"
    LOST = "lost"
    RETURNED = "returned"
    HEALTH = "health"
    DRAINED = "drained"
    STOPPED = "stopped"
    EXITED = "exited"
    FAILED = "failed"
    BACKING_OFF = "backing_off"
    CRASH_LOOP = "crash_loop"
    REPLACED = "replaced"
    KEPT = "kept"


class DebugLevel(StrEnum):
    """Severity of a debug event."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class DebugKind(StrEnum):
    """Subject of a debug event: lifecycle and readiness, the backend, or a log line."""

    STATE = "state"
    BACKEND = "backend"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class PatternSpec:
    """Specification of a pattern.

    Attributes:
        name: name that callers select the pattern by.
        driver: name of an installed driver.
        settings: the driver's settings, as text by name.
    """

    name: str
    driver: str
    # Settings may hold secrets.
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternPolicy:
    """Times and limits that hold for every process of every pattern.

    Attributes:
        start_timeout: maximum time from a launch to the registration.
        health_interval: time between two health checks.
        terminate_after: time from the driver's stop to SIGTERM, and from SIGTERM to SIGKILL.
        max_in_flight: maximum number of concurrent operations on one pattern.
        max_per_connection: maximum number of concurrent operations on one pattern from
            one connection.
        max_watches: maximum number of concurrent watches on one pattern.
    """

    start_timeout: timedelta = timedelta(seconds=10)
    health_interval: timedelta = timedelta(seconds=2)
    terminate_after: timedelta = timedelta(seconds=3)
    max_in_flight: int = 1024
    max_per_connection: int = 512
    max_watches: int = MAX_WATCHES
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Registration:
    """Data with which a process registered.

    Attributes:
        data_address: address of its gRPC services: `host:port` or `unix:PATH`.
        metrics_address: address of its health and metrics; empty: none.
        capabilities: upper bound of its capabilities: the backend is not known yet.
    """

    driver: str
    driver_version: str
    prism_version: str
    process_id: int
    data_address: str
    metrics_address: str = ""
    capabilities: frozenset[Capability] = frozenset()
    state: State = State.CREATED


@dataclass(frozen=True, slots=True)
class DebugEvent:
    """Event that a pattern reports about itself.

    Attributes:
        sequence: number from 1; a missing number is an event lost in transit.
        message: one sentence.
        dropped: number of events dropped or lost since the previous event.
    """

    sequence: int
    time: datetime
    level: DebugLevel
    kind: DebugKind
    message: str
    details: Mapping[str, str] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class PatternEvent:
    """Event in the life of a pattern, as its proxy saw it.

    Attributes:
        sequence: number from 1, over all patterns.
        message: one sentence.
    """

    sequence: int
    time: datetime
    pattern: str
    kind: EventKind
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PatternStatus:
    """Snapshot of a pattern.

    Attributes:
        reason: why the pattern is in this state; empty: no reason is needed.
        process_id: None: no process runs.
        registration: registration of the current process; None: not registered yet.
        serving_since: None while the pattern does not serve.
        restarts: number of launches after the first, for any cause.
        health: result of the last check; None: not checked yet, or the process has ended.
        in_flight: number of operations that the proxy sent and that have not ended.
    """

    name: str
    driver: str
    state: PatternState
    reason: str
    process_id: int | None
    registration: Registration | None
    serving_since: datetime | None
    restarts: int
    health: Health | None
    in_flight: int
