"""Pipeline of one connection: the order of its commands and replies."""

from __future__ import annotations

import asyncio
from collections import deque

from prism.adapters.resp.command import Command
from prism.adapters.resp.errors import reply_of
from prism.adapters.resp.parser import Arguments, size_of
from prism.adapters.resp.session import Session
from prism.domain.connection_budget import SMALL_REPLY_BYTES
from prism.domain.deadline import Cancellable

FLUSH_BYTES = 64 << 10
"""Replies of this size together are sent, even if more are to come."""

_MAX_RUNNING, _FIRST_RUNNING = 128, 16
"""Commands of one connection that may wait for a backend at the same time, and at first."""

_MAX_RUNNING_BYTES = 16 << 20
"""Replies of commands that run at the same time should not be larger together."""


_MAX_WAITING = 1024
"""Replies and messages that may wait for the replies before them, until no more are pushed."""


class _Place:
    """Place of a command among the replies that wait for those before them.

    Attributes:
        reply: its reply; None: it has none yet.
    """

    __slots__ = ("reply",)

    def __init__(self, reply: bytes | None) -> None:
        self.reply = reply


class Running(_Place):
    """Command that waits for a backend.

    Attributes:
        keys: keys that no later command may use until it has ended.
        size: memory of its arguments.
        is_muted: whether its reply is left out.
        timeout_s, task, deadline_step, overdue: see `prism.domain.deadline.Timed`.
    """

    __slots__ = (
        "begun_ns",
        "command",
        "deadline_step",
        "is_muted",
        "keys",
        "observed",
        "overdue",
        "size",
        "task",
        "timeout_s",
    )

    def __init__(
        self,
        command: Command,
        arguments: Arguments,
        task: Cancellable,
        begun_ns: int,
        observed: object,
    ) -> None:
        super().__init__(None)
        self.command = command
        self.keys = command.keys_of(arguments)
        self.size = size_of(arguments)
        self.task: Cancellable | None = task
        self.begun_ns = begun_ns
        self.observed = observed
        self.is_muted = False
        self.timeout_s = 0.0
        self.deadline_step = 0
        self.overdue = False


class Pipeline:
    """Commands of one connection that wait for a backend, and all replies in order.

    Commands with different keys run at the same time. Their replies, and those of later
    commands, are sent in the order of the commands.

    Attributes:
        out: replies that are ready to be sent. Short ones may be appended without `put` while
            `running` is empty.
        running: commands whose replies wait, in the order of the commands.
        transport: where the replies are sent; None: the connection is lost.
        is_paused: whether the transport holds as much as it should.
        running_bytes: memory of the arguments of commands that wait for a backend.
    """

    def __init__(self, session: Session) -> None:
        self.out: list[bytes] = []
        self.running: deque[_Place] = deque()
        self.transport: asyncio.WriteTransport | None = None
        self.is_paused = False
        self.running_bytes = 0
        self._session = session
        self._door = session.door
        self._out_bytes = 0
        self._keys: set[bytes] = set()
        self._is_exclusive = False
        self._most_running = min(_MAX_RUNNING, session.door.options.max_per_connection)
        self._max_running = min(_FIRST_RUNNING, self._most_running)
        # Sizes of the replies that are counted as unread.
        self._unread: list[int] = []

    def may_begin(self, command: Command, arguments: Arguments) -> bool:
        """Return whether a command may begin while others wait for the backend."""
        if self._is_exclusive or command.exclusive or len(self.running) >= self._max_running:
            return False
        return command.answer is not None or self._keys.isdisjoint(command.keys_of(arguments))

    def add(self, running: Running) -> None:
        """Let later commands wait for this one, where they need to."""
        running.is_muted = self._session.mutes_reply()
        self.running.append(running)
        self.running_bytes += running.size
        self._keys.update(running.keys)
        self._is_exclusive = running.command.exclusive

    def finish(self, running: Running, reply: bytes) -> bool:
        """Give a command its reply; return whether `out` was empty and is not any more."""
        self._keys.difference_update(running.keys)
        self.running_bytes -= running.size
        self._is_exclusive = False
        running.reply = b"" if running.is_muted else self._checked(running.command, reply)
        out, waiting = self.out, self.running
        was_empty = not out
        while waiting and (reply_or_none := waiting[0].reply) is not None:
            waiting.popleft()
            out.append(reply_or_none)
        return was_empty and bool(out)

    def put(self, command: Command, reply: bytes) -> None:
        """Send the reply of a command that has not waited, after those before it."""
        if self._session.mutes_reply():
            reply = b""
        if len(reply) > SMALL_REPLY_BYTES:
            reply = self._checked(command, reply)
        if self.running:
            self.running.append(_Place(reply))
            return
        self.out.append(reply)
        self._out_bytes += len(reply)
        if self._out_bytes > FLUSH_BYTES:
            self.flush()

    def push(self, message: bytes) -> bool:
        """Send a message that answers no command, after the replies of the commands that have
        begun.

        A reply may hold what was true before the change that the message is about.

        Returns:
            Whether `out` was empty and is not any more.
        """
        if self.running:
            self.running.append(_Place(message))
            return False
        was_empty = not self.out
        self.out.append(message)
        self._out_bytes += len(message)
        if self._out_bytes > FLUSH_BYTES:
            self.flush()
        return was_empty and bool(self.out)

    @property
    def is_congested(self) -> bool:
        """Whether no more messages should be pushed now."""
        return self.is_paused or len(self.running) > _MAX_WAITING

    def flush(self) -> None:
        """Hand replies to the transport."""
        out = self.out
        if not out:
            return
        self.out = []
        self._out_bytes = 0
        if self.transport is None:
            return
        self.transport.write(b"".join(out))
        if self._unread and not self.is_paused:
            self.release_unread()

    def release_unread(self) -> None:
        """Stop counting the replies that the client had not read."""
        for size in self._unread:
            self._door.unread.release(self._session.name, size)
        self._unread.clear()

    def lose(self) -> None:
        """Cancel the commands that run: nobody can read their replies."""
        self.transport = None
        self.release_unread()
        for place in tuple(self.running):
            if isinstance(place, Running) and place.task is not None:
                place.task.cancel()

    def _checked(self, command: Command, reply: bytes) -> bytes:
        """Return the reply, or a refusal if too much is not read already; count it as unread."""
        size = len(reply)
        if size <= SMALL_REPLY_BYTES:
            if self._max_running < self._most_running:
                self._max_running += 1
            return reply
        self._max_running = max(1, min(self._most_running, _MAX_RUNNING_BYTES // size))
        self._door.spend(size)
        unread, name = self._door.unread, self._session.name
        refusal = unread.refusal_of(name, size)
        if refusal is not None:
            return reply_of(refusal, writes=command.writes)
        if self.transport is not None:
            unread.add(name, size)
            self._unread.append(size)
        return reply
