"""State of a connection that commands read and change."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from prism.adapters.resp.errors import CommandError
from prism.adapters.resp.replies import NULL_2, NULL_3, array, bulk
from prism.domain.access.caller import Caller, current_caller
from prism.domain.access.logins import NOTHING
from prism.ports import (
    Batch,
    CompareAndSet,
    Condition,
    Counter,
    Exhausted,
    Expiry,
    KeyValue,
    Profile,
    Scan,
    Transactions,
    Unauthenticated,
    Watch,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prism.adapters.resp.command import Command
    from prism.adapters.resp.door import Database, Door
    from prism.adapters.resp.parser import Arguments
    from prism.adapters.resp.subscriptions import Subscriptions


_WATCHED_BYTES = 400
"""Memory that a watched key takes beside its name."""


class Backend(KeyValue, Expiry, CompareAndSet, Batch, Scan, Counter, Transactions, Protocol):
    """What commands call: the gateway, or what a transaction sees of it."""

    @property
    def profile(self) -> Profile:
        """Profile of the driver."""
        ...

    def describe(self) -> Profile:
        """Return the profile; raises NotServing before the driver was started."""
        ...


class Store(Backend, Watch, Protocol):
    """Keys of a database, which a connection can also watch."""


@dataclass(slots=True)
class Transaction:
    """Commands between MULTI and EXEC.

    Attributes:
        size: bytes of their arguments.
        refusal: why EXEC will refuse them; empty: it will not.
    """

    commands: list[tuple[Command, Arguments]] = field(default_factory=list)
    size: int = 0
    refusal: str = ""

    def abandon(self, refusal: str) -> None:
        """Forget the commands, and let EXEC say why."""
        self.commands.clear()
        self.size = 0
        self.refusal = refusal


class Session:
    """What a command knows of its connection.

    Attributes:
        door: parts that all connections share.
        gateway: what commands call.
        database: keys that the client has chosen.
        id: number of the connection.
        name: address of the peer.
        null: the null of the protocol version.
        resp3: whether the client has chosen RESP3.
        client_name: as the client calls itself; empty: it does not.
        library: name and version of the client's library.
        user: name by which it has logged in.
        active_ns: when its last commands began.
        watched: what the keys of WATCH have to be at EXEC.
        replies: whether replies are sent: `on`, `off`, or `skip` for the next one.
        proven: what is proven of the caller without AUTH.
        caller: who sends the commands; None: nobody asks.
        closing: whether the connection closes after the replies.
        subscriptions: messages that the client gets unasked.
        is_restrained: whether some commands are not run now.
    """

    # An instance has more attributes than Python looks up quickly in a dict.
    __slots__ = (
        "_is_uncounted",
        "_quota",
        "_transaction",
        "active_ns",
        "caller",
        "client_name",
        "closing",
        "connected_at",
        "database",
        "door",
        "gateway",
        "id",
        "is_restrained",
        "library",
        "name",
        "null",
        "proven",
        "replies",
        "resp3",
        "subscriptions",
        "user",
        "watched",
    )

    subscriptions: Subscriptions
    active_ns: int

    def __init__(self, door: Door, identity: int, name: str) -> None:
        self.proven = NOTHING
        self.door = door
        self.database = door.default
        self.gateway: Backend = self.database.gateway
        self._transaction: Transaction | None = None
        self.id = identity
        self.name = name
        self.connected_at = time.monotonic()
        self.closing = False
        self.caller: Caller | None = None
        self._quota = ExitStack()
        self._is_uncounted = False
        self._clear()

    def reset(self) -> None:
        """Return to the state of a new connection, which shows no token."""
        self._clear()
        try:
            self.log_out()
        except Exhausted:
            self.closing = True
            raise

    async def take_turns(self) -> None:
        """Let other connections have their turn, if this turn of the loop lasts long."""
        turns = self.door.turns
        if not turns.has_time():
            await turns.wait(self.name)

    def _clear(self) -> None:
        self.resp3 = False
        self.null = NULL_2
        self.client_name = b""
        self.user = "default"
        self.library = {"lib-name": b"", "lib-ver": b""}
        self.replies = "on"
        self.subscriptions.close()
        self.transaction = None
        self.watched: dict[str, Condition] = {}
        self.use(self.door.default)

    def count_held(self) -> None:
        """Count the memory that the connection holds; raises Exhausted if it is too much."""
        raise NotImplementedError

    @property
    def kept_bytes(self) -> int:
        """Memory of the commands since MULTI, and of watched keys."""
        size = 0 if self._transaction is None else self._transaction.size
        if self.watched:
            size += sum(map(len, self.watched)) + _WATCHED_BYTES * len(self.watched)
        return size

    def log_out(self) -> None:
        """Make the caller of the commands that follow one without a token.

        Raises:
            Unauthenticated: its certificate is revoked.
            Exhausted: as `become`.
        """
        if (logins := self.door.logins) is not None:
            caller = logins.caller(None, self.proven)
            if caller is None:
                raise Unauthenticated("the client certificate is revoked: present another one")
            if caller.identity.is_anonymous:
                # Connections without a token must not keep others from showing theirs.
                self.disconnect()
                self.caller = caller
                current_caller.set(caller)
                self._is_uncounted = logins.control.has_quotas
                self.restrain()
            else:
                self.become(caller)

    @property
    def transaction(self) -> Transaction | None:
        """Commands since MULTI; None: there was none."""
        return self._transaction

    @transaction.setter
    def transaction(self, transaction: Transaction | None) -> None:
        self._transaction = transaction
        self.restrain()

    @property
    def is_subscribed(self) -> bool:
        """Whether the connection takes only commands on subscriptions, as in RESP2."""
        return not self.resp3 and self.subscriptions.count("channel", "pattern") > 0

    def restrain(self) -> None:
        """Update whether some commands cannot run now: one attribute, which each command reads."""
        self.is_restrained = (
            self._transaction is not None or self.is_subscribed or self._is_uncounted
        )

    def count_connection(self) -> None:
        """Count the connection of a caller that uses it without a token.

        Raises:
            Exhausted: such callers have as many as their quota allows.
        """
        logins = self.door.logins
        if self._is_uncounted and logins is not None:
            self._quota.enter_context(logins.control.connected())
            self._is_uncounted = False
            self.restrain()

    def use(self, database: Database) -> None:
        """Use the keys of this database for the commands that follow.

        Raises:
            CommandError: keys of another one are watched or tracked.
        """
        if self.watched and database is not self.database:
            raise CommandError("ERR keys of another database are watched: send UNWATCH first")
        if self.subscriptions.count("prefix") and database is not self.database:
            raise CommandError("ERR keys of another database are tracked: send CLIENT TRACKING OFF")
        self.database = database
        self.gateway = database.gateway

    def become(self, caller: Caller | None) -> None:
        """Make this the caller of the commands that follow.

        Raises:
            Exhausted: it has as many connections as its quota allows; nothing is changed.
        """
        logins = self.door.logins
        if logins is None or caller is self.caller:
            return
        # The command that runs may be followed by others in the same step.
        current_caller.set(caller)
        quota = ExitStack()
        try:
            quota.enter_context(logins.control.connected())
        except Exhausted:
            current_caller.set(self.caller)
            raise
        self.disconnect()
        self.caller, self._quota = caller, quota
        self._is_uncounted = False
        self.restrain()

    @property
    def databases(self) -> list[Database]:
        """Databases that SELECT can choose."""
        door = self.door
        return [each for each in door.databases if door.may_use(each, self.caller)]

    def disconnect(self) -> None:
        """Stop counting the connection for the quota of its caller."""
        self._quota.close()

    def mutes_reply(self) -> bool:
        """Return whether the next reply is left out, as CLIENT REPLY says."""
        if self.replies == "on":
            return False
        if self.replies == "begins to skip":
            self.replies = "skip"
        elif self.replies == "skip":
            self.replies = "on"
        return True

    def choose_protocol(self, version: int) -> None:
        """Reply in RESP2 or in RESP3 from now on."""
        self.resp3 = version == 3
        self.null = NULL_3 if self.resp3 else NULL_2
        self.restrain()

    def map(self, replies: Sequence[bytes]) -> bytes:
        """Return a map of replies, keys and values in turn; an array in RESP2."""
        if not self.resp3:
            return array(replies)
        return b"%%%d\r\n%b" % (len(replies) // 2, b"".join(replies))

    def text(self, text: bytes) -> bytes:
        """Return text for people; bytes like any other in RESP2."""
        return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if self.resp3 else bulk(text)

    def set(self, replies: Sequence[bytes]) -> bytes:
        """Return a set of replies; an array in RESP2."""
        return (b"~" if self.resp3 else b"*") + array(replies)[1:]

    @property
    def info(self) -> str:
        """One line about the connection, as CLIENT INFO and CLIENT LIST have it."""
        name = self.client_name.decode("utf-8", "replace")
        library = {key: value.decode("utf-8", "replace") for key, value in self.library.items()}
        count = self.subscriptions.count
        idle_s = (time.perf_counter_ns() - self.active_ns) // 1_000_000_000
        queued = -1 if self._transaction is None else len(self._transaction.commands)
        return (
            f"id={self.id} addr={self.name} name={name} "
            f"age={time.monotonic() - self.connected_at:.0f} idle={idle_s} flags=N "
            f"db={self.database.index} sub={count('channel')} "
            f"psub={count('pattern')} multi={queued} watch={len(self.watched)} user={self.user} "
            f"resp={3 if self.resp3 else 2} "
            f"lib-name={library['lib-name']} lib-ver={library['lib-ver']}"
        )
