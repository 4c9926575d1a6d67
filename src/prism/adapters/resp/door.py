"""What all connections share: the gateway, the commands, limits, and the turns they take."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from google.rpc import status_pb2

from prism.adapters.resp.command import Commands
from prism.adapters.resp.commands import SERVED
from prism.adapters.resp.cursors import Cursors
from prism.adapters.resp.scripts import Scripts
from prism.adapters.wire.status import status_of
from prism.domain.access.caller import Caller, current_caller
from prism.domain.access.logins import Logins
from prism.domain.admission import Admission
from prism.domain.connection_budget import ConnectionBudget
from prism.domain.deadline import Deadlines
from prism.domain.token_bucket import TokenBucket
from prism.domain.turns import SHARE_S
from prism.domain.workers import Standby
from prism.ports import Internal, NotServing, PrismError

if TYPE_CHECKING:
    from prism.adapters.resp.peer import Peer
    from prism.adapters.resp.session import Store

log = logging.getLogger(__name__)

PatternBy = Literal["database", "user"]
"""What chooses the pattern of a proxy: SELECT, or the user name of AUTH."""

_COMMANDS_PER_TURN, _COMMANDS_PER_PEER = 4096, 256
"""Commands that one turn of the loop parses, of all connections and of each."""

_COMMAND_NS = 1000
"""Time that the parser takes for a command, at most."""

_ENOUGH = 128
"""Commands that are counted of those that could begin."""

_FEW_COMMANDS = 16
"""Connections with more commands to run let those with fewer go first."""

_HTTP_WARNINGS_PER_S, _HTTP_WARNINGS_AT_ONCE = 1 / 60, 3

_MAX_WAITING_BYTES, _MAX_PEER_WAITING_BYTES = 64 << 20, 16 << 20
"""Bytes that may wait to be run, or to be completed, of all connections and of each."""

_HELD_IN_PEACE_S = 1.0
"""Time after which a connection that sends no more gives way to others."""

_MAX_SUBSCRIBED_BYTES, _MAX_PEER_SUBSCRIBED_BYTES = 64 << 20, 8 << 20
"""Memory of subscriptions, of all connections and of each."""


class RequestLog(Protocol):
    """Log of requests that fail or are slow."""

    slow_ns: int
    redact: Callable[[str], str]

    def failed(
        self, path: str, status: status_pb2.Status, error: Exception, started_ns: int
    ) -> None: ...

    def succeeded(self, path: str, started_ns: int) -> None: ...


class Observer(Protocol):
    """Observer of single requests, for traces.

    The port opens in a context in which nothing is observed. So only a request that is observed
    is resumed, and None after it.
    """

    def begin_root(self, path: str, connection: str) -> object: ...
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
        pattern_by: what chooses one of several backends.
        version: version of Prism.
    """

    max_bytes: int = 4 << 20
    max_per_connection: int = 512
    default_timeout: timedelta = timedelta(seconds=30)
    stall_timeout: timedelta = timedelta(seconds=20)
    allow_flush: bool = False
    loose_transactions: bool = False
    pattern_by: PatternBy = "database"
    version: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """Keys that a connection chooses, by SELECT or by AUTH.

    Attributes:
        gateway: what commands call.
        index: number of the database, as clients see it.
        name: name of the proxy's pattern; empty: the server has no patterns.
    """

    gateway: Store
    index: int = 0
    name: str = ""


class Door:
    """Parts that all connections of the port share, and the order in which they are served.

    Commands begin where their bytes arrive: one of the embedded store is answered there, and
    costs no task and no turn of the loop. Each that waits for a backend gets a task.

    Args:
        databases: backends by name, in the order of their numbers; a server has one.
        default: name of the backend of connections that have chosen none.
        logins: identifies callers, whom the policy behind the gateway knows; None: nobody asks.
        count_keys: returns the number of keys if it is known.

    Attributes:
        admission: admits operations; its end closes the connections.
        databases: what SELECT chooses; empty: the user chooses.
        by_user: what the user name of AUTH chooses; empty: SELECT does.
        default: what a connection has before it chooses.
        sessions: connections that are open.
        run: runs commands that can begin now; not to be called in a task.
        emptied: set when the last connection closes.
        accepted: number of connections that were accepted.
        refused: number of connections that were refused or closed for the bound.
        stalled: number of connections that were closed because nobody read the replies.
        waiting: bytes of commands that are not complete, or not begun.
    """

    def __init__(
        self,
        databases: Mapping[str, Store],
        admission: Admission,
        options: DoorOptions,
        log: RequestLog,
        *,
        default: str = "",
        logins: Logins | None = None,
        observer: Observer | None = None,
        count_keys: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.admission = admission
        self.turns = admission.turns
        by_user = options.pattern_by == "user"
        # With a user for each, every connection has one database, which is number 0.
        found = {
            name: Database(gateway, 0 if by_user else index, name)
            for index, (name, gateway) in enumerate(databases.items())
        }
        self.by_user: Mapping[str, Database] = found if by_user else {}
        self.default = found[default]
        self.databases: Sequence[Database] = () if by_user else tuple(found.values())
        self.logins = logins
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
        self.unread = admission.unread
        self._http_warnings = TokenBucket(_HTTP_WARNINGS_PER_S, _HTTP_WARNINGS_AT_ONCE)
        self.waiting = ConnectionBudget(
            max_bytes=_MAX_WAITING_BYTES, max_connection_bytes=_MAX_PEER_WAITING_BYTES
        )
        # Connections with bytes that wait, and when these became more: the latest at the end.
        self.holders: dict[Peer, float] = {}
        self.subscribed = ConnectionBudget(
            max_bytes=_MAX_SUBSCRIBED_BYTES, max_connection_bytes=_MAX_PEER_SUBSCRIBED_BYTES
        )
        self.timeout_s = options.default_timeout.total_seconds()
        self._ready: deque[Peer] = deque()
        self._runs_soon = False
        self._unparsed: deque[Peer] = deque()
        self._left = _COMMANDS_PER_TURN
        self._dirty: list[Peer] = []

    def open(self) -> None:
        """Begin to serve, on the loop that runs."""
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self.loop)
        self._standby = Standby(self)
        self._standby.start(1)
        self.run = self._standby.run

    def close(self) -> None:
        """End what still runs."""
        self._standby.close()
        self.deadlines.close()

    def may_use(self, database: Database, caller: Caller | None) -> bool:
        """Return whether a caller may know of a database: not of one in which it may do nothing."""
        if self.logins is None or database is self.default:
            return True
        before = current_caller.set(caller)
        try:
            return self.logins.control.may_use(database.name)
        finally:
            current_caller.reset(before)

    @property
    def is_open(self) -> bool:
        """Whether operations are admitted."""
        try:
            self.admission.check_open()
        except NotServing:
            return False
        return True

    @property
    def backlog(self) -> int:
        """Number of commands that may be able to begin, of the first connections."""
        count = 0
        for peer in self._ready:
            count += len(peer.commands)
            if count >= _ENOUGH:
                break
        return count

    def received(self, peer: Peer) -> None:
        """Run what a connection has received, or a part of it; not to be called in a task."""
        self.parse(peer)
        if self._ready:
            self.run()

    def received_short(self, peer: Peer) -> None:
        """Run the short command of a connection with those of others, in the next turn of the loop.

        To enter a task costs as much as some commands do, and one task runs many.
        """
        if not peer.is_ready:
            peer.is_ready = True
            self._ready.append(peer)
        if not self._runs_soon:
            self._runs_soon = True
            self.loop.call_soon(self._run_soon)

    def _run_soon(self) -> None:
        self._runs_soon = False
        self.run()

    def parse(self, peer: Peer) -> None:
        """Parse what a connection has received, now or in the next turn of the loop."""
        if self._left > 0 and not self._unparsed:
            begun_ns = time.perf_counter_ns()
            count = peer.parse(_COMMANDS_PER_PEER)
            # One command can have as many arguments as thousands of others.
            self._left -= max(count, (time.perf_counter_ns() - begun_ns) // _COMMAND_NS)
            if peer.commands:
                self.enqueue(peer)
            else:
                peer.rest()
            return
        if not self._unparsed:
            self.loop.call_soon(self._next_turn)
        if not peer.is_unparsed:
            peer.is_unparsed = True
            self._unparsed.append(peer)
            peer.rest()

    def enqueue(self, peer: Peer) -> None:
        """Let the commands of a connection run that could not before."""
        if peer.commands and not peer.is_ready:
            peer.is_ready = True
            self._ready.append(peer)

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        ready, turns = self._ready, self.turns
        while ready:
            peer = ready[0]
            if peer.has_turn:
                peer.has_turn = False
            elif not turns.has_time():
                self._wait_for_turn(ready.popleft())
                continue
            rest = peer.step(task)
            if peer.commands:
                if rest is not None:
                    return rest
                if peer.is_out_of_time:
                    peer.is_out_of_time = False
                    self._wait_for_turn(ready.popleft())
                    continue
            ready.popleft()
            peer.is_ready = False
            peer.rest()
            if rest is not None:
                return rest
        return None

    def _wait_for_turn(self, peer: Peer) -> None:
        """Run the commands of a connection in a later turn, and read no more of it until then."""
        peer.rest()
        expected_s = SHARE_S if len(peer.commands) > _FEW_COMMANDS else 0
        self.turns.call_later(peer.name, partial(self._take_turn, peer), expected_s=expected_s)

    def _take_turn(self, peer: Peer) -> None:
        peer.has_turn = True
        self._ready.append(peer)
        self.run()

    def warn_of_http(self, name: str) -> None:
        """Log that HTTP came from this address; not more often than now and then."""
        if self._http_warnings.take():
            log.warning(
                "%s sent HTTP to the Redis port, and was disconnected: a client has the wrong "
                "port, or a web page tries to send commands through a browser",
                name,
            )

    def spend(self, reply_bytes: int) -> None:
        """Let a large reply take the place of other commands in this turn: it has been copied."""
        self._left -= reply_bytes >> 10

    def make_room(self, peer: Peer, size: int) -> bool:
        """Return whether a connection may hold this many bytes more.

        If all hold too much together, those give way whose bytes have waited longest for more,
        and which have nothing to run.
        """
        now, budget = self.loop.time(), self.waiting
        self.holders.pop(peer, None)
        self.holders[peer] = now
        if budget.used_by(peer.name) + size > budget.max_connection_bytes:
            return False
        if budget.used + size > budget.max_bytes:
            for other, since in tuple(self.holders.items()):
                if now - since < _HELD_IN_PEACE_S or budget.used + size <= budget.max_bytes:
                    break
                if other.is_idle:
                    other.give_way()
        return budget.used + size <= budget.max_bytes

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

    def _next_turn(self) -> None:
        """Parse what had to wait; each connection once."""
        self._left = _COMMANDS_PER_TURN
        unparsed, self._unparsed = self._unparsed, deque()
        while unparsed and self._left > 0:
            peer = unparsed.popleft()
            peer.is_unparsed = False
            self.parse(peer)
        if unparsed:
            if not self._unparsed:
                self.loop.call_soon(self._next_turn)
            self._unparsed.extendleft(reversed(unparsed))
        self.run()

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for peer in dirty:
            peer.pipeline.flush()
