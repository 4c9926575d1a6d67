"""Commands on the ttl of a key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from prism.adapters.resp.arguments import integer_of, ttl_of
from prism.adapters.resp.command import CommandWork, Spec
from prism.adapters.resp.commands.keys import count_or_reply
from prism.adapters.resp.commands.strings import get_entry
from prism.adapters.resp.errors import CommandError
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import ONE, ZERO, integer
from prism.adapters.resp.session import Session
from prism.adapters.resp.updates import milliseconds
from prism.ports import Entry, Lifetime, Persisted

_ZERO = timedelta()
_CONDITIONS = {b"NX", b"XX", b"GT", b"LT"}


def _expire(
    session: Session, arguments: Arguments, *, unit_ms: int, since_epoch: bool, name: str
) -> CommandWork:
    key = arguments[1].decode()
    # Redis looks at the options first, and so reports mistakes in them first.
    conditions = _conditions_of(arguments[3:])
    ttl = ttl_of(integer_of(arguments[2]), unit_ms, name, since_epoch=since_epoch)
    if conditions:
        return _expire_if(session, key, ttl, conditions)
    if ttl <= _ZERO:
        # Redis deletes what has expired.
        return session.gateway.delete(key)
    return session.gateway.expire(key, ttl)


def _conditions_of(options: Arguments) -> set[bytes]:
    conditions = {option.upper() for option in options}
    for option in options:
        if option.upper() not in _CONDITIONS:
            raise CommandError(f"ERR Unsupported option {option.decode('utf-8', 'replace')}")
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= conditions:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return conditions


async def _expire_if(session: Session, key: str, ttl: timedelta, conditions: set[bytes]) -> bytes:
    gateway = session.gateway
    lifetime = await gateway.ttl(key)
    if lifetime is None or not _holds(lifetime.remaining, ttl, conditions):
        return ZERO
    changed = await (gateway.delete(key) if ttl <= _ZERO else gateway.expire(key, ttl))
    return ONE if changed else ZERO


def _holds(left: timedelta | None, ttl: timedelta, conditions: set[bytes]) -> bool:
    """Return whether a condition lets a key with this time left get this ttl; None: no expiry."""
    if b"NX" in conditions and left is not None:
        return False
    if b"XX" in conditions and left is None:
        return False
    if b"GT" in conditions and (left is None or ttl <= left):
        return False
    return not (b"LT" in conditions and left is not None and ttl >= left)


def _ttl(session: Session, arguments: Arguments) -> CommandWork:
    return session.gateway.ttl(arguments[1].decode())


def _seconds_left(lifetime: Lifetime | None, session: Session) -> bytes:
    left = milliseconds(lifetime)
    return integer(left if left < 0 else (left + 500) // 1000)


def _milliseconds_left(lifetime: Lifetime | None, session: Session) -> bytes:
    return integer(milliseconds(lifetime))


def _expires_at(entry: Entry | None) -> int:
    if entry is None:
        return -2
    return -1 if entry.expires_at_ms is None else entry.expires_at_ms


def _expires_at_s(entry: Entry | None, session: Session) -> bytes:
    at = _expires_at(entry)
    return integer(at if at < 0 else (at + 500) // 1000)


def _expires_at_ms(entry: Entry | None, session: Session) -> bytes:
    return integer(_expires_at(entry))


def _persist(session: Session, arguments: Arguments) -> CommandWork:
    return session.gateway.persist(arguments[1].decode())


def _persisted(found: Persisted, session: Session) -> bytes:
    return ONE if found is Persisted.EXPIRY_REMOVED else ZERO


def _expire_spec(name: str, since: str, unit_ms: int, *, since_epoch: bool) -> Spec:
    unit = "milliseconds" if unit_ms == 1 else "seconds"
    what = f"a point of time, in {unit} since the Unix epoch" if since_epoch else unit
    return Spec(
        name=name,
        arity=-3,
        summary=f"Sets the ttl of a key, as {what}.",
        group="generic",
        since=since,
        flags=("write", "fast"),
        encode=count_or_reply,
        start=partial(_expire, unit_ms=unit_ms, since_epoch=since_epoch, name=name),
    )


def _ttl_spec(
    name: str,
    since: str,
    summary: str,
    start: Callable[[Session, Arguments], CommandWork],
    encode: Callable[[Any, Session], bytes],
) -> Spec:
    return Spec(
        name=name,
        arity=2,
        summary=summary,
        group="generic",
        since=since,
        flags=("readonly", "fast"),
        start=start,
        encode=encode,
    )


COMMANDS = (
    _expire_spec("expire", "1.0.0", 1000, since_epoch=False),
    _expire_spec("pexpire", "2.6.0", 1, since_epoch=False),
    _expire_spec("expireat", "1.2.0", 1000, since_epoch=True),
    _expire_spec("pexpireat", "2.6.0", 1, since_epoch=True),
    _ttl_spec("ttl", "1.0.0", "Returns the seconds until a key expires.", _ttl, _seconds_left),
    _ttl_spec(
        "pttl", "2.6.0", "Returns the milliseconds until a key expires.", _ttl, _milliseconds_left
    ),
    _ttl_spec(
        "expiretime", "7.0.0", "Returns when a key expires, in seconds.", get_entry, _expires_at_s
    ),
    _ttl_spec(
        "pexpiretime",
        "7.0.0",
        "Returns when a key expires, in milliseconds.",
        get_entry,
        _expires_at_ms,
    ),
    Spec(
        name="persist",
        arity=2,
        summary="Removes the ttl of a key.",
        group="generic",
        since="2.2.0",
        flags=("write", "fast"),
        start=_persist,
        encode=_persisted,
    ),
)
