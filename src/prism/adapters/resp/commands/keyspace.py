"""Commands on all keys."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Sequence

from prism.adapters.resp.arguments import integer_of, option_value
from prism.adapters.resp.command import Spec
from prism.adapters.resp.commands.keys import delete_keys
from prism.adapters.resp.errors import SYNTAX_ERROR, CommandError
from prism.adapters.resp.glob import Glob, matching
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import OK, array, bulk, bulks, integer
from prism.adapters.resp.session import Backend, Session
from prism.ports import Exhausted

_DEFAULT_COUNT = 10
_CURSOR = re.compile(rb"[0-9]{1,20}")


async def _scan(session: Session, arguments: Arguments) -> bytes:
    if _CURSOR.fullmatch(arguments[1]) is None:
        raise CommandError("ERR invalid cursor")
    pattern, count, kind = b"*", _DEFAULT_COUNT, b"string"
    at = 2
    while at < len(arguments):
        option, value = arguments[at].upper(), option_value(arguments, at)
        if option == b"MATCH":
            pattern = value
        elif option == b"COUNT":
            count = integer_of(value)
            if count < 1:
                raise CommandError(SYNTAX_ERROR)
        elif option == b"TYPE":
            kind = value.lower()
        else:
            raise CommandError(SYNTAX_ERROR)
        at += 2
    glob = Glob(pattern)
    cursors, scan = session.door.cursors, (session.database, glob.prefix)
    page = await session.gateway.scan(
        glob.prefix,
        page_size=min(count, 1 << 30),
        page_token=cursors.get(int(arguments[1]), scan),
    )
    cursor = cursors.put(scan, page.next_token, session.name) if page.next_token else 0
    keys = await matching(session, page.keys, glob) if kind == b"string" else []
    return array([bulk(b"%d" % cursor), bulks(keys)])


async def _pages(session: Session, gateway: Backend, prefix: str) -> AsyncIterator[Sequence[str]]:
    token = ""
    most = gateway.describe().limits.max_page_size
    while True:
        page = await gateway.scan(prefix, page_size=most, page_token=token)
        yield page.keys
        token = page.next_token
        if not token:
            return
        await session.take_turns()


async def _keys(session: Session, arguments: Arguments) -> bytes:
    glob = Glob(arguments[1])
    # A scan may repeat a key; KEYS does not.
    found: dict[bytes, None] = {}
    size = 0
    async for keys in _pages(session, session.gateway, glob.prefix):
        for key in await matching(session, keys, glob):
            if key not in found:
                found[key] = None
                size += len(key) + 16
        if size > session.door.options.max_bytes:
            most = session.door.options.max_bytes
            raise Exhausted(f"the keys have more than {most:,} bytes together: use SCAN")
    return bulks(found)


async def _dbsize(session: Session, arguments: Arguments) -> bytes:
    count = 0
    async for keys in _pages(session, session.gateway, ""):
        count += len(keys)
    return integer(count)


async def _randomkey(session: Session, arguments: Arguments) -> bytes:
    page = await session.gateway.scan("", page_size=session.gateway.describe().limits.max_page_size)
    while not page.keys and page.next_token:
        page = await session.gateway.scan("", page_token=page.next_token)
    return bulk(random.choice(page.keys).encode()) if page.keys else session.null  # noqa: S311


async def _flush_all(session: Session, arguments: Arguments) -> bytes:
    databases = session.door.databases or (session.database,)
    return await _flush(session, arguments, [database.gateway for database in databases])


async def _flush_one(session: Session, arguments: Arguments) -> bytes:
    return await _flush(session, arguments, [session.gateway])


async def _flush(session: Session, arguments: Arguments, gateways: Sequence[Backend]) -> bytes:
    if len(arguments) > 2 or (
        len(arguments) == 2 and arguments[1].upper() not in (b"SYNC", b"ASYNC")
    ):
        raise CommandError(SYNTAX_ERROR)
    if not session.door.options.allow_flush:
        raise CommandError(
            "NOPERM this deletes every key of the backend, and is not allowed: start the server "
            "with --resp-allow-flush if it should be"
        )
    for gateway in gateways:
        async for keys in _pages(session, gateway, ""):
            if keys:
                await delete_keys(session, gateway, list(keys))
    return OK


_ALL = (0, 0, 0)

COMMANDS = (
    Spec(
        name="scan",
        arity=-2,
        summary="Returns some keys, and a cursor for more.",
        group="generic",
        since="2.8.0",
        flags=("readonly",),
        keys=_ALL,
        start=_scan,
        exclusive=True,
    ),
    Spec(
        name="keys",
        arity=2,
        summary="Returns all keys that match a pattern.",
        group="generic",
        since="1.0.0",
        flags=("readonly",),
        keys=_ALL,
        start=_keys,
        exclusive=True,
    ),
    Spec(
        name="dbsize",
        arity=1,
        summary="Counts the keys, one by one.",
        group="server",
        since="1.0.0",
        flags=("readonly",),
        keys=_ALL,
        start=_dbsize,
        exclusive=True,
    ),
    Spec(
        name="randomkey",
        arity=1,
        summary="Returns one of the first keys of a scan.",
        group="generic",
        since="1.0.0",
        flags=("readonly",),
        keys=_ALL,
        start=_randomkey,
        exclusive=True,
    ),
    Spec(
        name="flushdb",
        arity=-1,
        summary="Deletes all keys, if that is allowed.",
        group="server",
        since="1.0.0",
        flags=("write",),
        keys=_ALL,
        start=_flush_one,
        exclusive=True,
    ),
    Spec(
        name="flushall",
        arity=-1,
        summary="Deletes all keys of all databases, if that is allowed.",
        group="server",
        since="1.0.0",
        flags=("write",),
        keys=_ALL,
        start=_flush_all,
        exclusive=True,
    ),
)
