"""What all connections share: the gateway, the commands, limits, and the turns they take."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from google.rpc import status_pb2

from prism.adapters.resp.command import Commands
from prism.adapters.resp.commands import SERVED
from prism.adapters.resp.cursors import Cursors
from prism.adapters.resp.scripts import Scripts
from prism.adapters.wire.status import status_of
from prism.domain.connection_budget import ConnectionBudget
from prism.domain.deadline import Deadlines
from prism.domain.gateway import Gateway
from prism.domain.workers import Workers
from prism.ports import Internal, NotServing, PrismError

if TYPE_CHECKING:
    from prism.adapters.resp.peer import Peer

_COMMANDS_PER_TURN, _COMMANDS_PER_PEER = 4096, 256
"""Commands that one turn of the loop parses, of all connections and of each."""

_MAX_WAITING_BYTES, _MAX_PEER_WAITING_BYTES = 64 << 20, 16 << 20
"""Bytes that may wait to be run, or to be completed, of all connections and of each."""


class RequestLog(Protocol):
    """Log of requests that fail or are slow."""

    slow_ns: int
    redact: Callable[[str], str]

    def failed(
        self, path: str, status: status_pb2.Status, error: Exception, started_ns: int
    ) -> None: ...

    def succeeded(self, path: str, started_ns: int) -> None: ...


class Observer(Protocol):
    """Observer of single requests, for traces."""

    def begin(self, path: str, context: Any) -> object: ...
    def resume(self, handle: object) -> None: ...
    def end(self, handle: object, status: status_pb2.Status | None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorOptions:
    """Limits and permissions of the port.

    Attributes:
        max_bytes: maximum size of one command.
        max_per_connection: maximum number of operations in flight on one connection.
        default_timeout: time that a command may take.
        stall_timeout: time that a client may take to read a reply.
        allow_flush: whether FLUSHDB and FLUSHALL delete all keys.
        loose_transactions: whether transactions run one command after another where the
            driver has none.
        version: version of Prism.
    """

    max_bytes: int = 4 << 20
    max_per_connection: int = 512
    default_timeout: timedelta = timedelta(seconds=30)
    stall_timeout: timedelta = timedelta(seconds=20)
    allow_flush: bool = False
    loose_transactions: bool = False
    version: str = ""


class Door:
    """Parts that all connections of the port share, and the order in which they are served.

    One task runs the commands of all connections one after the other, as long as none waits
    for a backend: a command of the embedded store costs no task. Each that waits keeps its
    task, and another one goes on with the rest.

    Args:
        count_keys: returns the number of keys if it is known.

    Attributes:
        sessions: connections that are open.
        emptied: set when the last connection closes.
        accepted: number of connections that were accepted.
        refused: number of connections that were refused or closed for the bound.
        stalled: number of connections that were closed because nobody read the replies.
        waiting: bytes of commands that are not complete, or not begun.
    """

    def __init__(
        self,
        gateway: Gateway,
        options: DoorOptions,
        log: RequestLog,
        *,
        observer: Observer | None = None,
        count_keys: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.gateway = gateway
        self.options = options
        self.log = log
        self.observer = observer
        self.count_keys = count_keys
        self.commands = Commands(SERVED)
        self.cursors = Cursors()
        self.scripts = Scripts()
        self.sessions: dict[Peer, None] = {}
        self.emptied = asyncio.Event()
        self.accepted = 0
        self.refused = 0
        self.stalled = 0
        self.port = 0
        self.max_connections = 0
        self.started_at = time.monotonic()
        self.unread = gateway.admission.unread
        self.waiting = ConnectionBudget(
            max_bytes=_MAX_WAITING_BYTES, max_connection_bytes=_MAX_PEER_WAITING_BYTES
        )
        self.timeout_s = options.default_timeout.total_seconds()
        self.backlog = 0
        self._ready: deque[Peer] = deque()
        self._unparsed: deque[Peer] = deque()
        self._left = _COMMANDS_PER_TURN
        self._turn_is_scheduled = False
        self._dirty: list[Peer] = []

    def open(self) -> None:
        """Begin to serve, on the loop that runs."""
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
        self._workers = Workers(self)

    def close(self) -> None:
        """End what still runs."""
        self._workers.close()
        self.deadlines.close()

    @property
    def is_open(self) -> bool:
        """Whether operations are admitted."""
        try:
            self.gateway.admission.check_open()
        except NotServing:
            return False
        return True

    def received(self, peer: Peer) -> None:
        """Parse what a connection has received, in this turn of the loop or in a later one."""
        if self._left > 0 and not self._unparsed:
            self._parse(peer)
        elif not peer.is_unparsed:
            peer.is_unparsed = True
            self._unparsed.append(peer)
        if not self._turn_is_scheduled:
            self._turn_is_scheduled = True
            self.loop.call_soon(self._next_turn)

    def enqueue(self, peer: Peer) -> None:
        """Let the commands of a connection run that could not before."""
        if peer.commands and not peer.is_ready:
            peer.is_ready = True
            self._ready.append(peer)
            self.backlog += len(peer.commands)
            self._workers.ensure_workers()

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        ready = self._ready
        while ready:
            peer = ready[0]
            rest = peer.step(task)
            if rest is not None:
                return rest
            ready.popleft()
            peer.is_ready = False
            self.backlog -= len(peer.commands)
            peer.rest()
        return None

    def flush_soon(self, peer: Peer) -> None:
        """Send the replies of a connection at the end of this turn of the loop."""
        if not self._dirty:
            self.loop.call_soon(self._flush)
        self._dirty.append(peer)

    def status_of(self, error: Exception) -> status_pb2.Status:
        """Return the status by which an error is logged, counted and traced."""
        if not isinstance(error, PrismError):
            error = Internal("internal error")
        return status_of(error, self.log.redact)

    def _parse(self, peer: Peer) -> None:
        parsed = peer.parse(_COMMANDS_PER_PEER)
        if not parsed:
            return
        self._left -= parsed
        if peer.is_ready:
            self.backlog += parsed
            self._workers.ensure_workers()
        else:
            self.enqueue(peer)

    def _next_turn(self) -> None:
        self._turn_is_scheduled = False
        self._left = _COMMANDS_PER_TURN
        for _ in range(len(self._unparsed)):
            if self._left <= 0:
                break
            peer = self._unparsed.popleft()
            peer.is_unparsed = False
            self._parse(peer)
        if self._unparsed:
            self._turn_is_scheduled = True
            self.loop.call_soon(self._next_turn)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for peer in dirty:
            peer.flush()
