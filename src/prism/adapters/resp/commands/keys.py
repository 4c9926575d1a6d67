"""Commands on keys, whatever they hold."""

from __future__ import annotations

import asyncio

from prism.adapters.resp.arguments import integer_of, keys_of, option_value
from prism.adapters.resp.command import CommandWork, Spec
from prism.adapters.resp.errors import SYNTAX_ERROR, CommandError
from prism.adapters.resp.overlay import Overlay, transact
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import OK, ONE, ZERO, integer, simple
from prism.adapters.resp.session import Backend, Session
from prism.adapters.resp.updates import Write, update
from prism.ports import Capability, Entry, PrismError

_AT_ONCE = 32
"""Keys that one command looks for at the same time."""


def count_or_reply(result: bool | bytes, session: Session) -> bytes:
    """Encode what an operation on one key returned; a command on several returns its reply."""
    if isinstance(result, bytes):
        return result
    return ONE if result else ZERO


def _delete(session: Session, arguments: Arguments) -> CommandWork:
    if len(arguments) == 2:
        return session.gateway.delete(arguments[1].decode())
    return _delete_many(session, keys_of(arguments[1:]))


async def _delete_many(session: Session, keys: list[str]) -> bytes:
    return integer(await delete_keys(session, session.gateway, keys))


async def delete_keys(session: Session, gateway: Backend, keys: list[str]) -> int:
    """Delete keys, each by itself; return how many existed."""
    profile = gateway.describe()
    if Capability.BATCH not in profile.capabilities:
        return sum([await gateway.delete(key) for key in keys])
    deleted = 0
    most = profile.limits.max_batch_items
    for begin in range(0, len(keys), most):
        for outcome in await gateway.delete_many(keys[begin : begin + most]):
            if isinstance(outcome, PrismError):
                raise outcome
            deleted += outcome
        await session.take_turns()
    return deleted


def _exists(session: Session, arguments: Arguments) -> CommandWork:
    if len(arguments) == 2:
        return session.gateway.exists(arguments[1].decode())
    return _count_existing(session, keys_of(arguments[1:]))


async def _count_existing(session: Session, keys: list[str]) -> bytes:
    gateway = session.gateway

    async def exists(key: str) -> bool:
        # A policy refuses at the call, which would leave the calls before it without a task.
        return await gateway.exists(key)

    count = 0
    for begin in range(0, len(keys), _AT_ONCE):
        group = keys[begin : begin + _AT_ONCE]
        count += sum(await asyncio.gather(*map(exists, group)))
        await session.take_turns()
    return integer(count)


def _type(session: Session, arguments: Arguments) -> CommandWork:
    return session.gateway.exists(arguments[1].decode())


def _type_of(exists: bool, session: Session) -> bytes:
    return simple("string" if exists else "none")


async def _copy(session: Session, arguments: Arguments) -> bytes:
    replaces, index = False, session.database.index
    at = 3
    while at < len(arguments):
        option = arguments[at].upper()
        if option == b"DB":
            index = integer_of(option_value(arguments, at))
            at += 1
        elif option == b"REPLACE":
            replaces = True
        else:
            raise CommandError(SYNTAX_ERROR)
        at += 1
    source, target = keys_of(arguments[1:3])
    if index != session.database.index:
        raise CommandError(
            f"ERR DB index is out of range: COPY of Prism stays in {session.database.index}"
        )
    if source == target:
        raise CommandError("ERR source and destination objects are the same")
    gateway = session.gateway
    entry = await gateway.get(source)
    if entry is None:
        return ZERO
    ttl = None
    if entry.expires_at_ms is not None:
        lifetime = await gateway.ttl(source)
        if lifetime is None:
            return ZERO
        ttl = lifetime.remaining
    copied = False

    def change(present: Entry | None) -> Write | None:
        nonlocal copied
        copied = present is None or replaces
        return Write(entry.value, keeps_ttl=False, ttl=ttl) if copied else None

    await update(gateway, target, change)
    return ONE if copied else ZERO


def _rename(session: Session, arguments: Arguments) -> CommandWork:
    return _renamed(session, *keys_of(arguments[1:]), replaces=True)


def _renamenx(session: Session, arguments: Arguments) -> CommandWork:
    return _renamed(session, *keys_of(arguments[1:]), replaces=False)


async def _renamed(session: Session, source: str, target: str, *, replaces: bool) -> bytes:
    async def run(overlay: Overlay) -> bytes:
        entry = await overlay.get(source)
        if entry is None:
            raise CommandError("ERR no such key")
        if not replaces and await overlay.exists(target):
            return ZERO
        if source != target:
            lifetime = await overlay.ttl(source)
            ttl = None if lifetime is None else lifetime.remaining
            await overlay.set(target, entry.value, ttl=ttl)
            await overlay.delete(source)
        return OK if replaces else ONE

    reply = await transact(session.gateway, run)
    assert reply is not None
    return reply


_READ = ("readonly", "fast")

COMMANDS = (
    Spec(
        name="del",
        arity=-2,
        summary="Deletes keys, each by itself.",
        group="generic",
        since="1.0.0",
        flags=("write",),
        keys=(1, -1, 1),
        start=_delete,
        encode=count_or_reply,
    ),
    Spec(
        name="unlink",
        arity=-2,
        summary="Deletes keys, each by itself.",
        group="generic",
        since="4.0.0",
        flags=("write", "fast"),
        keys=(1, -1, 1),
        start=_delete,
        encode=count_or_reply,
    ),
    Spec(
        name="exists",
        arity=-2,
        summary="Counts the keys that exist.",
        group="generic",
        since="1.0.0",
        flags=_READ,
        keys=(1, -1, 1),
        start=_exists,
        encode=count_or_reply,
    ),
    Spec(
        name="touch",
        arity=-2,
        summary="Counts the keys that exist.",
        group="generic",
        since="3.2.1",
        flags=_READ,
        keys=(1, -1, 1),
        start=_exists,
        encode=count_or_reply,
    ),
    Spec(
        name="rename",
        arity=3,
        summary="Gives a key another name.",
        group="generic",
        since="1.0.0",
        flags=("write",),
        keys=(1, 2, 1),
        start=_rename,
    ),
    Spec(
        name="renamenx",
        arity=3,
        summary="Gives a key another name that is free.",
        group="generic",
        since="1.0.0",
        flags=("write", "fast"),
        keys=(1, 2, 1),
        start=_renamenx,
    ),
    Spec(
        name="type",
        arity=2,
        summary="Returns the type of a key: string or none.",
        group="generic",
        since="1.0.0",
        flags=_READ,
        start=_type,
        encode=_type_of,
    ),
    Spec(
        name="copy",
        arity=-3,
        summary="Copies value and ttl of a key to another.",
        group="generic",
        since="6.2.0",
        flags=("write", "denyoom"),
        keys=(1, 2, 1),
        start=_copy,
    ),
)
