"""Commands on the value of a key."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from prism.adapters.resp.arguments import (
    EXPIRY_OPTIONS,
    integer_of,
    keys_of,
    option_value,
    positive_ttl,
)
from prism.adapters.resp.command import CommandWork, Spec
from prism.adapters.resp.errors import SYNTAX_ERROR, CommandError
from prism.adapters.resp.gathering import Gathering
from prism.adapters.resp.overlay import Overlay, transact
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import OK, ONE, ZERO, array, bulk, integer
from prism.adapters.resp.session import Session
from prism.adapters.resp.updates import Delete, Write, update
from prism.ports import Entry, PrismError, Put, VersionConflict

_ZERO = timedelta()


def value_of(entry: Entry | None, session: Session) -> bytes:
    """Encode what a key holds."""
    if entry is None:
        return session.null
    value = entry.value
    return b"$%d\r\n%b\r\n" % (len(value), value)


def get_entry(session: Session, arguments: Arguments) -> CommandWork:
    """Begin to read the key of a command."""
    return session.gateway.get(arguments[1].decode())


def _length_of(entry: Entry | None, session: Session) -> bytes:
    return ZERO if entry is None else integer(len(entry.value))


class _SetOptions(NamedTuple):
    """Options of SET.

    Attributes:
        condition: `NX`, `XX`, `IFEQ`, `IFNE` or nothing.
        compared: value that the key must hold for `IFEQ`, and must not hold for `IFNE`.
        returns_old: whether the reply is what the key held.
        keeps_ttl: whether the key keeps its ttl.
        ttl: ttl of the key; zero or less: it expires at once.
    """

    condition: bytes
    compared: bytes
    returns_old: bool
    keeps_ttl: bool
    ttl: timedelta | None


def _set(session: Session, arguments: Arguments) -> CommandWork:
    key = arguments[1].decode()
    if len(arguments) == 3:
        return session.gateway.set(key, arguments[2])
    options = _set_options(arguments)
    ttl = options.ttl
    is_plain = not (options.condition or options.returns_old or options.keeps_ttl)
    if is_plain and ttl is not None and ttl > _ZERO:
        return session.gateway.set(key, arguments[2], ttl=ttl)
    return _set_if(session, key, arguments[2], options)


def _set_reply(result: object, session: Session) -> bytes:
    # An operation of the gateway returns a version; what was read and written, a reply.
    return result if isinstance(result, bytes) else OK


def _set_options(arguments: Arguments) -> _SetOptions:
    condition = compared = expiry = b""
    returns_old = False
    ttl: timedelta | None = None
    at = 3
    while at < len(arguments):
        option = arguments[at].upper()
        if option in (b"NX", b"XX") and condition in (b"", option):
            condition = option
        elif option in (b"IFEQ", b"IFNE") and not condition:
            condition, compared = option, option_value(arguments, at)
            at += 1
        elif option == b"GET":
            returns_old = True
        elif option == b"KEEPTTL" and expiry in (b"", option):
            expiry = option
        elif option in EXPIRY_OPTIONS and expiry in (b"", option):
            expiry = option
            unit_ms, since_epoch = EXPIRY_OPTIONS[option]
            argument = option_value(arguments, at)
            ttl = positive_ttl(argument, unit_ms, "set", since_epoch=since_epoch)
            at += 1
        else:
            raise CommandError(SYNTAX_ERROR)
        at += 1
    return _SetOptions(condition, compared, returns_old, expiry == b"KEEPTTL", ttl)


async def _set_if(session: Session, key: str, value: bytes, options: _SetOptions) -> bytes:
    gateway, ttl = session.gateway, options.ttl
    if options.condition == b"NX" and not options.returns_old:
        return await _set_absent(session, key, value, ttl)
    done = False

    def change(entry: Entry | None) -> Write | Delete | None:
        nonlocal done
        done = _holds(options.condition, options.compared, entry)
        if not done:
            return None
        if ttl is not None and ttl <= _ZERO:
            return Delete()
        return Write(value, options.keeps_ttl, ttl)

    entry = await update(gateway, key, change)
    if options.returns_old:
        return value_of(entry, session)
    return OK if done else session.null


def _holds(condition: bytes, compared: bytes, entry: Entry | None) -> bool:
    """Return whether a condition of SET or DELEX holds."""
    if condition == b"NX":
        return entry is None
    if condition == b"XX":
        return entry is not None
    if condition == b"IFEQ":
        return entry is not None and entry.value == compared
    return condition != b"IFNE" or entry is None or entry.value != compared


async def _set_absent(session: Session, key: str, value: bytes, ttl: timedelta | None) -> bytes:
    if ttl is not None and ttl <= _ZERO:
        return session.null if await session.gateway.exists(key) else OK
    try:
        await session.gateway.compare_and_set(key, value, expected=None, ttl=ttl)
    except VersionConflict:
        return session.null
    return OK


def _setnx(session: Session, arguments: Arguments) -> CommandWork:
    async def run() -> bytes:
        reply = await _set_absent(session, arguments[1].decode(), arguments[2], None)
        return ONE if reply is OK else ZERO

    return run()


def _setex(session: Session, arguments: Arguments) -> CommandWork:
    ttl = positive_ttl(arguments[2], 1000, "setex")
    return session.gateway.set(arguments[1].decode(), arguments[3], ttl=ttl)


def _psetex(session: Session, arguments: Arguments) -> CommandWork:
    ttl = positive_ttl(arguments[2], 1, "psetex")
    return session.gateway.set(arguments[1].decode(), arguments[3], ttl=ttl)


def _getset(session: Session, arguments: Arguments) -> CommandWork:
    return update(
        session.gateway,
        arguments[1].decode(),
        lambda _: Write(arguments[2], keeps_ttl=False),
    )


def _getdel(session: Session, arguments: Arguments) -> CommandWork:
    return update(session.gateway, arguments[1].decode(), lambda _: Delete())


async def _delex(session: Session, arguments: Arguments) -> bytes:
    key, condition, compared = arguments[1].decode(), b"", b""
    if len(arguments) > 2:
        condition, compared = arguments[2].upper(), option_value(arguments, 2)
        if condition not in (b"IFEQ", b"IFNE") or len(arguments) > 4:
            raise CommandError(SYNTAX_ERROR)
    deleted = False

    def change(entry: Entry | None) -> Delete | None:
        nonlocal deleted
        deleted = entry is not None and _holds(condition, compared, entry)
        return Delete() if deleted else None

    await update(session.gateway, key, change)
    return ONE if deleted else ZERO


async def _getex(session: Session, arguments: Arguments) -> bytes:
    option = _getex_option(arguments)
    key, gateway = arguments[1].decode(), session.gateway
    entry = await gateway.get(key)
    if entry is None:
        # Redis does not look at the time then.
        return session.null
    if option == b"PERSIST":
        await gateway.persist(key)
    elif option:
        unit_ms, since_epoch = EXPIRY_OPTIONS[option]
        ttl = positive_ttl(arguments[-1], unit_ms, "getex", since_epoch=since_epoch)
        if ttl > _ZERO:
            await gateway.expire(key, ttl)
        else:
            entry = await update(gateway, key, lambda _: Delete())
    return value_of(entry, session)


def _getex_option(arguments: Arguments) -> bytes:
    """Return the option; it may come again, and the last time counts."""
    option = arguments[2].upper() if len(arguments) > 2 else b""
    step = 2 if option in EXPIRY_OPTIONS else 1
    is_known = step == 2 or option in (b"", b"PERSIST")
    names = {name.upper() for name in arguments[2::step]}
    if not is_known or len(arguments) % step or len(names) > 1:
        raise CommandError(SYNTAX_ERROR)
    return option


async def _mget(session: Session, arguments: Arguments) -> bytes:
    keys = keys_of(arguments[1:])
    if len(keys) == 1:
        return array([value_of(await session.gateway.get(keys[0]), session)])
    most = session.gateway.describe().limits.max_batch_items
    with Gathering(session) as replies:
        for begin in range(0, len(keys), most):
            for outcome in await session.gateway.get_many(keys[begin : begin + most]):
                if isinstance(outcome, PrismError):
                    raise outcome
                replies.append(value_of(outcome, session))
            await session.take_turns()
        return replies.reply()


async def _mset(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) % 2 == 0:
        raise CommandError("ERR wrong number of arguments for 'mset' command")
    keys, values = keys_of(arguments[1::2]), arguments[2::2]
    gateway = session.gateway
    if len(keys) == 1:
        await gateway.set(keys[0], values[0])
        return OK
    limits = gateway.describe().limits
    batch: list[Put] = []
    size = 0
    for key, value in zip(keys, values, strict=True):
        own = len(key) * 4 + len(value)
        if batch and (len(batch) == limits.max_batch_items or size + own > limits.max_batch_bytes):
            await _put(session, batch)
            batch, size = [], 0
        batch.append(Put(key, value))
        size += own
    await _put(session, batch)
    return OK


async def _put(session: Session, batch: list[Put]) -> None:
    for outcome in await session.gateway.set_many(batch):
        if isinstance(outcome, PrismError):
            raise outcome
    await session.take_turns()


async def _msetnx(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) % 2 == 0:
        raise CommandError("ERR wrong number of arguments for 'msetnx' command")
    keys, values = keys_of(arguments[1::2]), arguments[2::2]
    if len(keys) == 1:
        return ONE if await _set_absent(session, keys[0], values[0], None) is OK else ZERO

    async def run(overlay: Overlay) -> bytes:
        for key in keys:
            if await overlay.exists(key):
                return ZERO
        for key, value in zip(keys, values, strict=True):
            await overlay.set(key, value)
        return ONE

    reply = await transact(session.gateway, run)
    assert reply is not None
    return reply


async def _append(session: Session, arguments: Arguments) -> bytes:
    added, length = arguments[2], 0

    def change(entry: Entry | None) -> Write | None:
        nonlocal length
        value = added if entry is None else entry.value + added
        length = len(value)
        # Redis makes an empty key too.
        return Write(value) if added or entry is None else None

    await update(session.gateway, arguments[1].decode(), change)
    return integer(length)


async def _setrange(session: Session, arguments: Arguments) -> bytes:
    offset, written, length = integer_of(arguments[2]), arguments[3], 0
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    longest = session.gateway.describe().limits.max_value_bytes
    if written and offset + len(written) > longest:
        raise CommandError(
            f"ERR string exceeds maximum allowed size (proto-max-bulk-len): {longest:,} bytes"
        )

    def change(entry: Entry | None) -> Write | None:
        nonlocal length
        value = b"" if entry is None else entry.value
        if written:
            end = offset + len(written)
            value = value[:offset].ljust(offset, b"\0") + written + value[end:]
        length = len(value)
        return Write(value) if written else None

    await update(session.gateway, arguments[1].decode(), change)
    return integer(length)


async def _getrange(session: Session, arguments: Arguments) -> bytes:
    start, end = integer_of(arguments[2]), integer_of(arguments[3])
    entry = await session.gateway.get(arguments[1].decode())
    value = b"" if entry is None else entry.value
    size = len(value)
    if start < 0 and end < 0 and start > end:
        return bulk(b"")
    first = max(start + size, 0) if start < 0 else start
    last = max(end + size, 0) if end < 0 else end
    return bulk(value[first : last + 1])


_READ = ("readonly", "fast")
_WRITE = ("write", "denyoom")

COMMANDS = (
    Spec(
        name="get",
        arity=2,
        summary="Returns the value of a key.",
        group="string",
        since="1.0.0",
        flags=_READ,
        start=get_entry,
        encode=value_of,
    ),
    Spec(
        name="set",
        arity=-3,
        summary="Sets the value of a key.",
        group="string",
        since="1.0.0",
        flags=_WRITE,
        start=_set,
        encode=_set_reply,
    ),
    Spec(
        name="setnx",
        arity=3,
        summary="Sets the value of a key that does not exist.",
        group="string",
        since="1.0.0",
        flags=(*_WRITE, "fast"),
        start=_setnx,
    ),
    Spec(
        name="setex",
        arity=4,
        summary="Sets value and ttl of a key, in seconds.",
        group="string",
        since="2.0.0",
        flags=_WRITE,
        start=_setex,
        encode=_set_reply,
    ),
    Spec(
        name="psetex",
        arity=4,
        summary="Sets value and ttl of a key, in milliseconds.",
        group="string",
        since="2.6.0",
        flags=_WRITE,
        start=_psetex,
        encode=_set_reply,
    ),
    Spec(
        name="getset",
        arity=3,
        summary="Sets the value of a key; returns what it held.",
        group="string",
        since="1.0.0",
        flags=(*_WRITE, "fast"),
        start=_getset,
        encode=value_of,
    ),
    Spec(
        name="getdel",
        arity=2,
        summary="Deletes a key; returns what it held.",
        group="string",
        since="6.2.0",
        flags=("write", "fast"),
        start=_getdel,
        encode=value_of,
    ),
    Spec(
        name="delex",
        arity=-2,
        summary="Deletes a key, if it holds a value or does not.",
        group="string",
        since="8.4.0",
        flags=("write", "fast"),
        start=_delex,
    ),
    Spec(
        name="getex",
        arity=-2,
        summary="Returns the value of a key, and changes its ttl.",
        group="string",
        since="6.2.0",
        flags=("write", "fast"),
        start=_getex,
    ),
    Spec(
        name="mget",
        arity=-2,
        summary="Returns the values of keys.",
        group="string",
        since="1.0.0",
        flags=_READ,
        keys=(1, -1, 1),
        start=_mget,
    ),
    Spec(
        name="mset",
        arity=-3,
        summary="Sets the values of keys, each by itself.",
        group="string",
        since="1.0.1",
        flags=_WRITE,
        keys=(1, -1, 2),
        start=_mset,
    ),
    Spec(
        name="msetnx",
        arity=-3,
        summary="Sets the values of keys, if none of them exists.",
        group="string",
        since="1.0.1",
        flags=_WRITE,
        keys=(1, -1, 2),
        start=_msetnx,
    ),
    Spec(
        name="append",
        arity=3,
        summary="Appends to the value of a key.",
        group="string",
        since="2.0.0",
        flags=(*_WRITE, "fast"),
        start=_append,
    ),
    Spec(
        name="strlen",
        arity=2,
        summary="Returns the length of a value.",
        group="string",
        since="2.2.0",
        flags=_READ,
        start=get_entry,
        encode=_length_of,
    ),
    Spec(
        name="getrange",
        arity=4,
        summary="Returns a part of a value.",
        group="string",
        since="2.4.0",
        flags=("readonly",),
        start=_getrange,
    ),
    Spec(
        name="substr",
        arity=4,
        summary="Returns a part of a value.",
        group="string",
        since="1.0.0",
        flags=("readonly",),
        start=_getrange,
    ),
    Spec(
        name="setrange",
        arity=4,
        summary="Overwrites a part of a value.",
        group="string",
        since="2.2.0",
        flags=_WRITE,
        start=_setrange,
    ),
)
