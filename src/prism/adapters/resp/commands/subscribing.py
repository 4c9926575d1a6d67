"""Channels of changed keys, which Redis calls keyspace notifications.

https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from prism.adapters.resp.command import Spec
from prism.adapters.resp.errors import CommandError
from prism.adapters.resp.glob import Glob
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import bulk, integer
from prism.adapters.resp.session import Session
from prism.adapters.resp.subscriptions import Keys, Listener
from prism.ports import Change, Event

if TYPE_CHECKING:
    from prism.adapters.resp.door import Database

WHILE_SUBSCRIBED = frozenset(
    {"subscribe", "psubscribe", "unsubscribe", "punsubscribe", "ping", "quit", "reset"}
)
"""Commands that a connection with subscriptions takes in RESP2."""

_AT_ONCE = 16
"""Patterns that are compiled in one go."""

_EVENTS = {Change.PUT: b"set", Change.DELETE: b"del", Change.EXPIRE: b"expired"}

_CHANNEL = re.compile(rb"__key(space|event)@(\d{1,9})__:(.*)", re.DOTALL)
_OTHER = (
    "ERR Prism has no channels but those of changed keys: __keyspace@0__:KEY and "
    "__keyevent@0__:EVENT, where the event is set, del or expired"
)


async def _subscribe(session: Session, arguments: Arguments) -> bytes:
    return await _add(session, "channel", arguments[1:])


async def _psubscribe(session: Session, arguments: Arguments) -> bytes:
    return await _add(session, "pattern", arguments[1:])


async def _add(session: Session, kind: str, names: Arguments) -> bytes:
    subscriptions = session.subscriptions
    subscriptions.check_number(kind, names)
    find = _of_channel if kind == "channel" else _of_pattern
    new = {}
    for number, name in enumerate(dict.fromkeys(names)):
        if not number % _AT_ONCE:
            await session.take_turns()
        new[kind, name] = find(session, name)
    known = {name for name in subscriptions.names if name[0] != "prefix"}
    await subscriptions.add(new)
    word = b"subscribe" if kind == "channel" else b"psubscribe"
    confirmed = []
    for name in names:
        known.add((kind, name))
        confirmed.append(_confirmed(session, word, name, len(known)))
    return b"".join(confirmed)


def _of_channel(session: Session, channel: bytes) -> tuple[tuple[Keys, ...], Listener]:
    """Return which keys a channel is about, and what tells the client of their changes."""
    match = _CHANNEL.fullmatch(channel)
    index = int(match[2]) if match else 0
    databases = _databases(session)
    if match is None or index not in databases:
        raise CommandError(_OTHER)
    push = session.subscriptions.push
    if match[1] == b"event":
        if match[3] not in _EVENTS.values():
            raise CommandError(_OTHER)

        def tell_of_change(event: Event) -> None:
            if _EVENTS[event.change] == match[3]:
                push((b"message", channel, event.key.encode()))

        return (Keys(databases[index], ""),), tell_of_change
    key = match[3].decode()

    def tell_of_key(event: Event) -> None:
        if event.key == key:
            push((b"message", channel, _EVENTS[event.change]))

    return (Keys(databases[index], key),), tell_of_key


def _of_pattern(session: Session, pattern: bytes) -> tuple[tuple[Keys, ...], Listener]:
    """Return which keys the channels of a pattern are about, and what tells the client."""
    glob = Glob(pattern)
    literal = glob.prefix.encode()
    found = [
        (database, begin)
        for database in _databases(session).values()
        for begin in _beginnings(database.index)
        if begin.startswith(literal) or literal.startswith(begin)
    ]
    if not found:
        raise CommandError(_OTHER)
    database = found[0][0]
    if any(each is not database for each, _ in found):
        raise CommandError(
            "ERR the pattern is about several databases: name one, as in __keyspace@0__:*"
        )
    prefix = ""
    if len(found) == 1 and b"space" in found[0][1]:
        prefix = glob.prefix[len(found[0][1]) :]
    push, beginnings = session.subscriptions.push, _beginnings(database.index)

    def tell(event: Event) -> None:
        key, change = event.key.encode(), _EVENTS[event.change]
        for begin, rest, payload in zip(beginnings, (key, change), (change, key), strict=True):
            if glob.matches(begin + rest):
                push((b"pmessage", pattern, begin + rest, payload))

    return (Keys(database, prefix),), tell


def _beginnings(index: int) -> tuple[bytes, bytes]:
    """Return how the channels of a database begin: those of keys, and those of events."""
    return b"__keyspace@%d__:" % index, b"__keyevent@%d__:" % index


def _databases(session: Session) -> dict[int, Database]:
    """Return the databases of the port by the number that clients know them by."""
    return {each.index: each for each in session.databases or (session.database,)}


def _unsubscribe(session: Session, arguments: Arguments) -> bytes:
    return _remove(session, "channel", arguments[1:])


def _punsubscribe(session: Session, arguments: Arguments) -> bytes:
    return _remove(session, "pattern", arguments[1:])


def _remove(session: Session, kind: str, names: Arguments) -> bytes:
    subscriptions = session.subscriptions
    word = b"unsubscribe" if kind == "channel" else b"punsubscribe"
    # The confirmation of the last one is in the protocol of a connection that has subscriptions.
    confirmed = []
    for name in names or subscriptions.of_kind(kind):
        subscriptions.remove([(kind, name)])
        count = subscriptions.count("channel", "pattern")
        confirmed.append(_confirmed(session, word, name, count))
    if not confirmed:
        count = subscriptions.count("channel", "pattern")
        confirmed.append(_confirmed(session, word, None, count))
    return b"".join(confirmed)


def _confirmed(session: Session, word: bytes, name: bytes | None, count: int) -> bytes:
    shown = session.null if name is None else bulk(name)
    begin = b">3\r\n" if session.resp3 else b"*3\r\n"
    return begin + bulk(word) + shown + integer(count)


def _spec(name: str, arity: int, since: str, summary: str) -> Spec:
    return Spec(
        name=name,
        arity=arity,
        summary=summary,
        group="pubsub",
        since=since,
        flags=("pubsub", "noscript", "loading", "stale"),
        keys=(0, 0, 0),
        exclusive=True,
    )


COMMANDS = (
    replace(
        _spec("subscribe", -2, "2.0.0", "Reports changes of keys, by channels."),
        start=_subscribe,
    ),
    replace(
        _spec("psubscribe", -2, "2.0.0", "Reports changes of keys, by patterns of channels."),
        start=_psubscribe,
    ),
    replace(_spec("unsubscribe", -1, "2.0.0", "Unsubscribes from channels."), answer=_unsubscribe),
    replace(
        _spec("punsubscribe", -1, "2.0.0", "Unsubscribes from patterns of channels."),
        answer=_punsubscribe,
    ),
)
