"""Commands that run together."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from prism.adapters.resp.arguments import keys_of
from prism.adapters.resp.command import Command, Spec
from prism.adapters.resp.errors import CommandError, not_utf8, reply_of
from prism.adapters.resp.gathering import Gathering
from prism.adapters.resp.overlay import Overlay, transact
from prism.adapters.resp.parser import Arguments, size_of
from prism.adapters.resp.replies import OK, QUEUED, error
from prism.adapters.resp.session import Backend, Session, Transaction
from prism.ports import (
    Capability,
    Condition,
    Exhausted,
    InvalidArgument,
    NotServing,
    Outcome,
    PreconditionFailed,
    Profile,
)

if TYPE_CHECKING:
    from prism.adapters.resp.door import DoorOptions

_MAX_QUEUED = 10_000

_QUEUED_BYTES = 128
"""Memory that a command takes beside its arguments."""

ABORTED = "EXECABORT Transaction discarded because of:"
DISCARDED = "EXECABORT Transaction discarded because of previous errors."


def queue(
    transaction: Transaction, command: Command, arguments: Arguments, options: DoorOptions
) -> bytes:
    """Keep a command for EXEC; return the reply."""
    if command.exclusive:
        transaction.refusal = DISCARDED
        return error(f"ERR {command.name.upper()} cannot be used in a transaction of Prism")
    transaction.size += size_of(arguments) + _QUEUED_BYTES
    if len(transaction.commands) >= _MAX_QUEUED or transaction.size > options.max_bytes:
        transaction.abandon(
            f"EXECABORT the transaction is larger than {options.max_bytes:,} bytes, or has more "
            f"than {_MAX_QUEUED:,} commands"
        )
        return error(f"ERR {transaction.refusal.partition(' ')[2]}")
    transaction.commands.append((command, arguments))
    return QUEUED


def _multi(session: Session, arguments: Arguments) -> bytes:
    if session.transaction is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    session.transaction = Transaction()
    profile = _profile_of(session)
    if (
        profile is not None
        and Capability.TRANSACTIONS not in profile.capabilities
        and not session.door.options.loose_transactions
    ):
        # An error here would let the commands that follow run by themselves.
        session.transaction.refusal = (
            f"EXECABORT the driver '{profile.driver}' does not offer transactions, nothing was "
            "written: leave MULTI out, or start the server with --resp-transactions loose"
        )
    return OK


def _profile_of(session: Session) -> Profile | None:
    """Return the profile of the driver; None: nothing serves, and EXEC will say so."""
    try:
        return session.gateway.profile if session.door.is_open else None
    except NotServing:
        return None


def _discard(session: Session, arguments: Arguments) -> bytes:
    if session.transaction is None:
        raise CommandError("ERR DISCARD without MULTI")
    session.transaction = None
    session.watched = {}
    return OK


def _exec(session: Session, arguments: Arguments) -> Coroutine[Any, Any, bytes]:
    transaction, watched = session.transaction, session.watched
    if transaction is None:
        raise CommandError("ERR EXEC without MULTI")
    session.transaction, session.watched = None, {}
    if transaction.refusal:
        raise CommandError(transaction.refusal)
    conditions = list(watched.values())
    if Capability.TRANSACTIONS in session.gateway.describe().capabilities:
        return _run_together(session, transaction, conditions)
    return _run_loosely(session, transaction, conditions)


async def _run_together(
    session: Session, transaction: Transaction, conditions: list[Condition]
) -> bytes:
    async def run(overlay: Overlay) -> bytes:
        return await _run(session, overlay, transaction, None)

    replies = await transact(session.gateway, run, conditions)
    return _null(session) if replies is None else replies


async def _run_loosely(
    session: Session, transaction: Transaction, conditions: list[Condition]
) -> bytes:
    """Run commands one after another; others may come between, and between these looks."""
    gateway = session.gateway
    for condition in conditions:
        entry = await gateway.get(condition.key)
        if not condition.is_met_by(None if entry is None else entry.version):
            return _null(session)
    return await _run(session, gateway, transaction, Outcome.UNKNOWN)


async def _run(
    session: Session, backend: Backend, transaction: Transaction, after_refusal: Outcome | None
) -> bytes:
    # No other command of this connection runs at the same time.
    gateway, session.gateway = session.gateway, backend
    try:
        with Gathering(session, after_refusal) as replies:
            for each in transaction.commands:
                replies.append(await _reply(session, *each))
                await session.take_turns()
            return replies.reply()
    finally:
        session.gateway = gateway


async def _reply(session: Session, command: Command, arguments: Arguments) -> bytes:
    """Return the reply of one command; what is wrong with it stops no other."""
    try:
        if command.answer is not None:
            return command.answer(session, arguments)
        assert command.start is not None
        return command.encode(await command.start(session, arguments), session)
    except UnicodeDecodeError as failure:
        return reply_of(not_utf8(failure), writes=False)
    except (InvalidArgument, PreconditionFailed) as failure:
        return reply_of(failure, writes=False, redact=session.door.log.redact)


def _null(session: Session) -> bytes:
    # A null array in RESP2: https://redis.io/docs/latest/develop/using-commands/transactions/
    return session.null if session.resp3 else b"*-1\r\n"


async def _watch(session: Session, arguments: Arguments) -> bytes:
    if session.transaction is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    most = session.gateway.describe().limits.max_batch_items
    for key in keys_of(arguments[1:]):
        if key not in session.watched:
            if len(session.watched) >= most:
                raise CommandError(f"ERR more than {most:,} keys are watched: send UNWATCH first")
            session.watched[key] = Condition.unchanged(key, await session.gateway.get(key))
            await session.take_turns()
    try:
        session.count_held()
    except Exhausted:
        session.watched = {}
        raise
    return OK


def _unwatch(session: Session, arguments: Arguments) -> bytes:
    session.watched = {}
    return OK


_NO_KEYS = (0, 0, 0)
_FLAGS = ("noscript", "fast")

COMMANDS = (
    Spec(
        name="multi",
        arity=1,
        summary="Begins a transaction.",
        group="transactions",
        since="1.2.0",
        flags=_FLAGS,
        keys=_NO_KEYS,
        answer=_multi,
        is_queued=False,
    ),
    Spec(
        name="exec",
        arity=1,
        summary="Runs the commands of a transaction.",
        group="transactions",
        since="1.2.0",
        flags=("noscript", "write"),
        keys=_NO_KEYS,
        start=_exec,
        exclusive=True,
        is_queued=False,
    ),
    Spec(
        name="discard",
        arity=1,
        summary="Forgets the commands of a transaction.",
        group="transactions",
        since="2.0.0",
        flags=_FLAGS,
        keys=_NO_KEYS,
        answer=_discard,
        is_queued=False,
    ),
    Spec(
        name="watch",
        arity=-2,
        summary="Lets a transaction fail if these keys change.",
        group="transactions",
        since="2.2.0",
        flags=_FLAGS,
        keys=(1, -1, 1),
        start=_watch,
        exclusive=True,
        is_queued=False,
    ),
    Spec(
        name="unwatch",
        arity=1,
        summary="Forgets the watched keys.",
        group="transactions",
        since="2.2.0",
        flags=_FLAGS,
        keys=_NO_KEYS,
        answer=_unwatch,
    ),
)
