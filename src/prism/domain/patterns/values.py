"""What is known and told of a pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from prism.ports import Capability, Health, State


class PatternState(StrEnum):
    """Where a pattern is, as its proxy sees it.

    launching → starting → serving → draining → stopping → stopped; what fails is
    backing off, or in a crash loop, before it is launched again. Failed is one that
    cannot be started as it is configured.
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
    def words(self) -> str:
        """For people."""
        return self.value.replace("_", " ")


class EventKind(StrEnum):
    """What can happen to a pattern; `proto/prism/v1/proxy.proto` describes each."""

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
    """How much a debug event matters."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class DebugKind(StrEnum):
    """What a debug event is about: lifecycle and readiness, the backend, or a line of log."""

    STATE = "state"
    BACKEND = "backend"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class PatternSpec:
    """What a pattern is to be.

    Attributes:
        name: of the pattern, as calls say it.
        driver: installed under this name.
        settings: the driver's own, as text by name.
    """

    name: str
    driver: str
    # It may hold secrets.
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """What a process said of itself when it called back.

    Attributes:
        capabilities: at best; its backend is not known yet.
        data_address: of its gRPC services: `host:port` or `unix:PATH`.
        metrics_address: of its health and metrics; empty: nowhere.
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
    """What a pattern tells of itself, unasked.

    Attributes:
        sequence: from 1; a number that is left out is an event that was lost on the way.
        message: one sentence.
        dropped: events that were too many or lost, since the one before.
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
    """What happened to a pattern, as its proxy saw it.

    Attributes:
        sequence: from 1, over all patterns.
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
    """A pattern now.

    Attributes:
        reason: why it is in this state, where there is a reason.
        registration: of the process that there is, once it has called back.
        serving_since: None while it does not serve.
        restarts: how often it was launched again, by whatever cause.
        health: as of the last check; None: there was none, or its process has ended.
        in_flight: operations through the proxy.
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
