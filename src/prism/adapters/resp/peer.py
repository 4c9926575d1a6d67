"""One connection: commands in, replies out in the same order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Coroutine
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, cast

from google.rpc import status_pb2

from prism.adapters.certificates import proven_in
from prism.adapters.resp import replies
from prism.adapters.resp.arguments import quoted
from prism.adapters.resp.command import Command
from prism.adapters.resp.commands.subscribing import WHILE_SUBSCRIBED
from prism.adapters.resp.commands.transactions import ABORTED, DISCARDED, queue
from prism.adapters.resp.errors import not_utf8, reply_of
from prism.adapters.resp.parser import Arguments, HttpRequest, ProtocolError, RequestParser
from prism.adapters.resp.pipeline import FLUSH_BYTES, Pipeline, Running
from prism.adapters.resp.session import Session
from prism.adapters.resp.subscriptions import Subscriptions
from prism.domain.access.caller import current_caller
from prism.domain.access.logins import NOTHING, Proven
from prism.domain.admission import connection
from prism.domain.deadline import overdue, rest_of
from prism.domain.turns import SHARE_S
from prism.ports import Exhausted, NotServing, Unauthenticated

if TYPE_CHECKING:
    from prism.adapters.resp.door import Door

_SHORT_BYTES = 256
"""Replies up to this size are not counted: those of one turn have no more than that, together."""

_SHARE_NS = round(SHARE_S * 1e9)

_WITHOUT_TOKEN = frozenset({"auth", "hello", "quit", "reset"})
"""Commands of a connection that is about to show a token."""

_FREE_BYTES = 16 << 10
"""Memory of waiting commands that each connection has without being counted."""

_TOO_MUCH_HELD = (
    "too many half-sent commands and transactions are open: finish some before others begin"
)

_FAREWELL_S = 1.0
"""Time in which a client may read why its connection is closed."""


class Peer(Session, asyncio.Protocol):
    """Protocol of one connection.

    Attributes:
        commands: commands that were parsed and have not begun.
        is_ready, is_unparsed: whether the door has it in a queue.
        has_turn: whether its commands may begin, however long this turn of the loop lasts.
        is_out_of_time: whether its last commands have taken their time of one turn.
        active_ns: when its last commands began.
    """

    __slots__ = (
        "_ended",
        "_is_leaving",
        "_is_lost",
        "_last_words",
        "_lookup",
        "_parser",
        "_reads",
        "_stall",
        "_taken_bytes",
        "_transport",
        "_waiting_bytes",
        "commands",
        "has_turn",
        "is_out_of_time",
        "is_ready",
        "is_unparsed",
        "pipeline",
    )

    def __init__(self, door: Door, identity: int, name: str) -> None:
        self.subscriptions = Subscriptions(self, door.log.redact, door.subscribed)
        super().__init__(door, identity, name)
        self.commands: deque[Arguments] = deque()
        self.is_ready = False
        self.is_unparsed = False
        self.has_turn = False
        self.is_out_of_time = False
        self.active_ns = perf_counter_ns()
        self.pipeline = Pipeline(self)
        self._parser = RequestParser(door.options.max_bytes)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._taken_bytes = 0
        self._waiting_bytes = 0
        self._reads = True
        self._ended = False
        self._is_lost = False
        self._last_words = b""
        self._is_leaving = False
        self._stall: asyncio.TimerHandle | None = None
        self._lookup = door.commands.by_bytes.get

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self.pipeline.transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=FLUSH_BYTES)
        self.door.sessions[self] = None
        if self.door.logins is not None:
            self.proven = _proven_at(self._transport)
            try:
                self.log_out()
            except (Exhausted, Unauthenticated) as error:
                self._part_with(reply_of(error, writes=False))

    def data_received(self, data: bytes) -> None:
        if self._last_words:
            return
        command = self._parser.only(data)
        if command is None:
            self._parser.feed(data)
            self.door.received(self)
        else:
            self.commands.append(command)
            self.door.received_short(self)

    def eof_received(self) -> bool:
        """Answer what was read, and close then: a client may send all and shut its side."""
        self._ended = True
        self._close_when_done()
        # TLS cannot be shut on one side only.
        return self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = self._ended = True
        self.disconnect()
        door = self.door
        door.sessions.pop(self, None)
        if not door.sessions:
            door.emptied.set()
        self.commands.clear()
        self._count_waiting(0)
        if self._stall is not None:
            self._stall.cancel()
        self.subscriptions.close()
        self.pipeline.lose()

    def pause_writing(self) -> None:
        self.pipeline.is_paused = True
        left = self._transport.get_write_buffer_size()
        self._stall = self.door.loop.call_later(self._stall_s, self._check_stalled, left)

    def resume_writing(self) -> None:
        self.pipeline.is_paused = False
        self.subscriptions.go_on()
        self.pipeline.release_unread()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self.door.enqueue(self)
        self.rest()
        self.door.run()

    # What the door calls.

    @property
    def is_idle(self) -> bool:
        """Whether every command is answered."""
        pipeline = self.pipeline
        return not (self.commands or pipeline.running or pipeline.out or self.is_unparsed)

    def parse(self, most: int) -> int:
        """Parse commands, at most so many; return how many there are."""
        if self._is_lost or self.closing or self._last_words:
            return 0
        try:
            parsed = self._parser.parse(most)
        except ProtocolError as error:
            if isinstance(error, HttpRequest):
                self.door.warn_of_http(self.name)
            self._refuse(str(error))
            return 0
        self._taken_bytes += self._parser.taken_bytes
        if not self._parser.is_between or self._taken_bytes > _FREE_BYTES:
            try:
                self.count_held()
            except Exhausted as error:
                self._refuse(error.message)
                return 0
        self.commands.extend(parsed)
        return len(parsed)

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        """Begin commands until one waits for a backend; return the rest of its work.

        None: no command can begin now.
        """
        door = self.door
        commands, lookup, pipeline = self.commands, self._lookup, self.pipeline
        observer = door.observer
        connection.set(self.name)
        if door.logins is not None:
            current_caller.set(self.caller)
        # Each command begins when the one before it has ended.
        begun_ns = self.active_ns = perf_counter_ns()
        while commands and not (pipeline.is_paused or self.closing):
            arguments = commands[0]
            command = lookup(arguments[0]) or door.commands.find(arguments[0])
            if command is None or not command.least <= len(arguments) <= command.most:
                commands.popleft()
                self._refuse_command(command, arguments)
                continue
            if self.is_restrained and (restraint := self._restraint(command, arguments)):
                commands.popleft()
                pipeline.put(command, restraint)
                continue
            if pipeline.running and not pipeline.may_begin(command, arguments):
                break
            commands.popleft()
            observed = failure = None
            if observer is not None:
                observed = observer.begin_root(command.path, self.name)
                if observed is not None:
                    observer.resume(observed)
            try:
                start = command.start
                if start is None:
                    assert command.answer is not None
                    reply = command.answer(self, arguments)
                else:
                    work = start(self, arguments)
                    waits_for = work.send(None)
                    return self._wait(command, arguments, work, waits_for, task, begun_ns, observed)
            except StopIteration as done:
                encode = command.encode
                reply = encode(done.value, self)
            except asyncio.CancelledError:
                reply, failure = self._fail(
                    command, RuntimeError("cancelled from within"), begun_ns
                )
            except Exception as error:
                reply, failure = self._fail(command, error, begun_ns)
            ended_ns = perf_counter_ns()
            elapsed_ns = ended_ns - begun_ns
            command.durations.add(elapsed_ns)
            if elapsed_ns >= door.log.slow_ns and failure is None:
                door.log.succeeded(command.path, begun_ns)
            if observed is not None and observer is not None:
                observer.end(observed, failure)
                observer.resume(None)
            if len(reply) > _SHORT_BYTES or pipeline.running or self.replies != "on":
                pipeline.put(command, reply)
            else:
                pipeline.out.append(reply)
            if not commands:
                break
            begun_ns = ended_ns
            if ended_ns - self.active_ns > _SHARE_NS and not door.turns.has_time():
                self.is_out_of_time = True
                break
        return None

    def rest(self) -> None:
        """Send replies, and read on or not, after commands have run."""
        self.pipeline.flush()
        if self.closing or self._ended:
            if self._is_lost or self._is_leaving:
                return
            if self.closing and not self.is_ready:
                self.commands.clear()
        if not self.commands:
            self._taken_bytes = 0
            if self._waiting_bytes:
                self._count_less()
        may_read = not (
            self.commands or self.is_unparsed or self.pipeline.is_paused or self._last_words
        )
        if may_read and self._parser.has_more and not self.is_unparsed:
            self.door.parse(self)
        if may_read != self._reads and not self._transport.is_closing():
            self._reads = may_read
            if may_read:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        if self.closing or self._ended:
            self._close_when_done()

    def close(self) -> None:
        """Close the connection once everything that was read is answered."""
        self.closing = True
        for arguments in self.commands:
            command = self.door.commands.find(arguments[0]) or self.door.commands.unknown
            refusal = NotServing("not serving: this server is going away")
            self.pipeline.put(command, reply_of(refusal, writes=command.writes))
        self.commands.clear()
        self.pipeline.flush()
        self._close_when_done()

    def abort(self) -> None:
        """Close the connection at once."""
        if not self._is_lost:
            self._transport.abort()

    # What subscriptions call.

    @property
    def is_congested(self) -> bool:
        return self.pipeline.is_congested

    def push(self, message: bytes) -> None:
        """Send a message that answers no command."""
        self.active_ns = perf_counter_ns()
        if self.pipeline.push(message):
            self.door.flush_soon(self)

    # The rest of a command.

    def _restraint(self, command: Command, arguments: Arguments) -> bytes | None:
        """Return the reply to a command that is not run now; None: it is."""
        if command.name in _WITHOUT_TOKEN and self.transaction is None and not self.is_subscribed:
            return None
        try:
            self.count_connection()
        except Exhausted as error:
            self.closing = True
            return reply_of(error, writes=False)
        if not self.is_restrained:
            return None
        if self.transaction is not None:
            if not command.is_queued:
                return None
            before = self.transaction.size
            reply = queue(self.transaction, command, arguments, self.door.options)
            self._taken_bytes = max(0, self._taken_bytes - (self.transaction.size - before))
            try:
                self.count_held()
            except Exhausted as error:
                self.transaction.abandon(f"EXECABORT {error.message}")
                reply = reply_of(error, writes=False)
            return reply
        if command.name in WHILE_SUBSCRIBED:
            return None
        return replies.error(
            f"ERR Can't execute '{command.name}': only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT "
            "/ RESET are allowed while subscribed in RESP2"
        )

    def _wait(
        self,
        command: Command,
        arguments: Arguments,
        work: Coroutine[Any, Any, Any],
        waits_for: object,
        task: asyncio.Task[None],
        begun_ns: int,
        observed: object,
    ) -> Awaitable[None]:
        command.waiting += 1
        running = Running(command, arguments, task, begun_ns, observed)
        running.timeout_s = self.door.timeout_s
        self.pipeline.add(running)
        return self._finish(running, work, waits_for)

    async def _finish(
        self, running: Running, work: Coroutine[Any, Any, Any], waits_for: object
    ) -> None:
        door, command = self.door, running.command
        failure = None
        door.deadlines.watch(running)
        try:
            reply = command.encode(await rest_of(work, waits_for), self)
        except asyncio.CancelledError:
            if running.overdue:
                error = overdue(running.timeout_s)
                reply, failure = self._fail(command, error, running.begun_ns)
            else:
                reply, failure = b"", _CANCELLED
                command.failed[_CANCELLED.code] += 1
        except Exception as error:
            reply, failure = self._fail(command, error, running.begun_ns)
        door.deadlines.forget(running)
        running.task = None
        elapsed_ns = perf_counter_ns() - running.begun_ns
        command.durations.add(elapsed_ns)
        command.waiting -= 1
        if elapsed_ns >= door.log.slow_ns and failure is None:
            door.log.succeeded(command.path, running.begun_ns)
        if running.observed is not None and door.observer is not None:
            door.observer.end(running.observed, failure)
            door.observer.resume(None)
        if self.pipeline.finish(running, reply):
            door.flush_soon(self)
        if self._waiting_bytes:
            self._count_less()
        self.subscriptions.go_on()
        if self.commands:
            door.enqueue(self)
        elif self.closing or self._ended or not self._reads or self._parser.has_more:
            self.rest()

    def _fail(
        self, command: Command, error: Exception, begun_ns: int
    ) -> tuple[bytes, status_pb2.Status]:
        door = self.door
        if isinstance(error, UnicodeDecodeError):
            error = not_utf8(error)
        status = door.status_of(error)
        door.log.failed(command.path, status, error, begun_ns)
        command.failed[status.code] += 1
        return reply_of(error, writes=command.writes, redact=door.log.redact), status

    def _refuse_command(self, command: Command | None, arguments: Arguments) -> None:
        """Answer a command that is not served, or has the wrong number of arguments."""
        name = quoted(arguments[0])
        if command is None:
            counted = self.door.commands.unknown
            text = (
                f"ERR unknown command '{name}': Prism serves strings, and no other type; "
                "COMMAND LIST names what it serves"
            )
        else:
            counted = command
            prefix = "ERR"
            if command.name == "exec":
                prefix, self.transaction, self.watched = ABORTED, None, {}
            text = f"{prefix} wrong number of arguments for '{command.name}' command"
            if len(arguments) > command.most > command.least:
                text += f": at most {command.most:,} are taken at once"
        if self.transaction is not None:
            self.transaction.refusal = DISCARDED
        counted.failed[_INVALID] += 1
        counted.durations.add(0)
        self.pipeline.put(counted, replies.error(text))

    def _refuse(self, text: str) -> None:
        """Answer what cannot be parsed after all that could be, and close."""
        self._part_with(replies.error(f"ERR Protocol error: {text}"))

    def _part_with(self, words: bytes) -> None:
        """Send these after the replies, and close."""
        self._ended = True
        self._last_words = words
        self.rest()

    # The end.

    def _close_when_done(self) -> None:
        if self.is_idle and not self._is_lost and not (self._parser.has_more and self._reads):
            if self._last_words and not self._is_leaving:
                self._leave()
            else:
                self._transport.close()

    def _leave(self) -> None:
        """Send the reason, and close a little later: closing with unread bytes would lose it."""
        self._is_leaving = True
        self.transaction, self.watched = None, {}
        self._count_waiting(0)
        self._parser = RequestParser(0)
        self._transport.write(self._last_words)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._reads = True
        self._transport.resume_reading()
        self.door.loop.call_later(_FAREWELL_S, self._transport.close)

    @property
    def _stall_s(self) -> float:
        return self.door.options.stall_timeout.total_seconds()

    def _check_stalled(self, before: int) -> None:
        """Abort the connection if the client has read nothing for long."""
        left = self._transport.get_write_buffer_size()
        if left < before:
            self._stall = self.door.loop.call_later(self._stall_s, self._check_stalled, left)
            return
        self.door.stalled += 1
        self._transport.abort()

    def count_held(self) -> None:
        """Count what waits to be completed, or to be run, with what WATCH and MULTI keep.

        What takes little memory is not counted.

        Raises:
            Exhausted: it is too much, and no other connection can give way.
        """
        self._count_waiting(self._held_bytes)

    def _count_less(self) -> None:
        self._count_waiting(min(self._waiting_bytes, self._held_bytes))

    @property
    def _held_bytes(self) -> int:
        parser, pipeline = self._parser, self.pipeline
        size = self._taken_bytes + pipeline.running_bytes + self.kept_bytes + parser.buffered
        return size if size > _FREE_BYTES else 0

    def give_way(self) -> None:
        """End the connection, which holds memory that others need."""
        self._refuse(_TOO_MUCH_HELD)

    def _count_waiting(self, size: int) -> None:
        """Count this memory; raises as `count_held`."""
        added = size - self._waiting_bytes
        budget = self.door.waiting
        if 0 <= added < _FREE_BYTES:
            return
        if added > 0 and not self.door.make_room(self, added):
            if not self._waiting_bytes:
                self.door.holders.pop(self, None)
            raise Exhausted(_TOO_MUCH_HELD)
        if not size:
            self.door.holders.pop(self, None)
        if self._waiting_bytes:
            budget.remove(self.name, self._waiting_bytes)
        if size:
            budget.add(self.name, size)
        self._waiting_bytes = size


_INVALID = 3
_CANCELLED = status_pb2.Status(code=1, message="the client has gone")


def _proven_at(transport: asyncio.Transport) -> Proven:
    """Return what its connection proves of a caller."""
    if (tls := transport.get_extra_info("ssl_object")) is not None:
        certificate = tls.getpeercert()
        return proven_in(certificate, tls.getpeercert(binary_form=True)) if certificate else NOTHING
    accepted = transport.get_extra_info("socket")
    # The socket is open to the user of this process alone.
    return Proven((f"uid:{os.getuid()}",)) if accepted.family == socket.AF_UNIX else NOTHING
