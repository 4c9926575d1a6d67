"""Commands on the connection itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prism.adapters.resp.arguments import integer_of, quoted
from prism.adapters.resp.command import Spec
from prism.adapters.resp.commands.tracking import (
    caching,
    get_redirect,
    tracking,
    tracking_info,
)
from prism.adapters.resp.errors import NOT_AN_INTEGER, SYNTAX_ERROR, CommandError
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import EMPTY_ARRAY, OK, PONG, bulk, bulks, integer
from prism.adapters.resp.session import Session
from prism.domain.access.identity import bare_name
from prism.domain.access.policy import Action
from prism.domain.addresses import peer_of
from prism.ports import Unauthenticated

if TYPE_CHECKING:
    from prism.adapters.resp.door import Database
    from prism.domain.access.caller import Caller
    from prism.domain.access.logins import Logins

_KINDS_OF_TOKENS = ("token", "jwt")
"""Kinds of the names that a user can have whom a token names."""

_DEFAULT_USER = b"default"
"""Name that clients send where only a password is configured."""

REDIS_VERSION = "7.4.0"
"""Version of Redis whose string commands are served; clients decide by it what to use."""


def _ping(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) > 2:
        raise wrong_number("ping")
    if session.is_subscribed:
        return bulks([b"pong", *(arguments[1:] or [b""])])
    return PONG if len(arguments) == 1 else bulk(arguments[1])


def _echo(session: Session, arguments: Arguments) -> bytes:
    return bulk(arguments[1])


async def _hello(session: Session, arguments: Arguments) -> bytes:
    version, name, login = 3 if session.resp3 else 2, None, None
    if len(arguments) > 1:
        try:
            version = integer_of(arguments[1])
        except CommandError:
            raise CommandError("ERR Protocol version is not an integer or out of range") from None
        if version not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    at = 2
    while at < len(arguments):
        option = arguments[at].upper()
        if option == b"AUTH" and at + 2 < len(arguments):
            login = arguments[at + 1], arguments[at + 2]
            at += 3
        elif option == b"SETNAME" and at + 1 < len(arguments):
            name = _valid_name(arguments[at + 1])
            at += 2
        else:
            raise CommandError(f"ERR Syntax error in HELLO option '{quoted(arguments[at])}'")
    if login is not None:
        await _log_in(session, *login)
    session.choose_protocol(version)
    if name is not None:
        session.client_name = name
    return session.map(
        [
            *(bulk(b"server"), bulk(b"redis")),
            *(bulk(b"version"), bulk(REDIS_VERSION.encode())),
            *(bulk(b"proto"), integer(version)),
            *(bulk(b"id"), integer(session.id)),
            *(bulk(b"mode"), bulk(b"standalone")),
            *(bulk(b"role"), bulk(b"master")),
            *(bulk(b"modules"), EMPTY_ARRAY),
        ]
    )


async def _auth(session: Session, arguments: Arguments) -> bytes:
    if len(arguments) > 3:
        raise CommandError(SYNTAX_ERROR)
    name = arguments[1] if len(arguments) == 3 else _DEFAULT_USER
    await _log_in(session, name, arguments[-1])
    return OK


async def _log_in(session: Session, name: bytes, token: bytes) -> None:
    """Make the token's caller the current one; choose the pattern, if the user name does that.

    Raises:
        CommandError: the server has no policy, the token is not valid or not of this name, or
            there is no such pattern.
        Exhausted: too many wrong tokens come from the address.
    """
    door, user = session.door, name.decode("utf-8", "replace")
    database: Database | None = session.database
    if door.by_user:
        database = door.by_user.get(user, door.default if name == _DEFAULT_USER else None)
    elif door.logins is None:
        raise CommandError(
            "ERR AUTH called, but this port has no password: leave user and password out of the "
            "client's configuration"
        )
    caller = None
    if door.logins is not None:
        authorization = f"Bearer {token.decode('utf-8', 'surrogateescape')}"
        caller = await _caller_with(authorization, session, door.logins)
        is_of_user = door.by_user or name == _DEFAULT_USER
        own = {f"{kind}:{user}" for kind in _KINDS_OF_TOKENS}
        if not (is_of_user or own.intersection(caller.identity.names)):
            with _as_wrong_password():
                await door.logins.refuse(_peer(session), Unauthenticated("it is another user's"))
    if database is None or not door.may_use(database, caller):
        raise CommandError(
            f"WRONGPASS there is no pattern '{quoted(name)}' for this caller, and the user "
            "name chooses the pattern here"
        )
    session.use(database)
    session.become(caller)
    session.user = user if caller is None else _token_of(caller) or user


def _token_of(caller: Caller) -> str:
    """Return the name of the token that a caller has shown; empty: none."""
    names = (each for each in caller.identity.names if each.startswith("token:"))
    return bare_name(next(names, ""))


async def _caller_with(authorization: str, session: Session, logins: Logins) -> Caller:
    """Return the caller with these credentials; raises as `_log_in`."""
    caller = logins.caller(authorization, session.proven)
    if caller is not None:
        return caller
    with _as_wrong_password():
        return await logins.log_in(_peer(session), authorization, session.proven)


@contextmanager
def _as_wrong_password() -> Iterator[None]:
    try:
        yield
    except Unauthenticated:
        raise CommandError("WRONGPASS the token is not valid, or not of this user") from None


def _peer(session: Session) -> str:
    return peer_of(session.name.rpartition(":")[0].strip("[]"))


def _select(session: Session, arguments: Arguments) -> bytes:
    try:
        index = integer_of(arguments[1])
    except CommandError:
        raise CommandError(NOT_AN_INTEGER) from None
    door = session.door
    if door.by_user:
        if index:
            raise CommandError(
                "ERR DB index is out of range: the user name of AUTH chooses the database here"
            )
    else:
        databases = {each.index: each for each in session.databases}
        if index not in databases:
            there_are = ", ".join(map(str, databases)) or "none"
            raise CommandError(f"ERR DB index is out of range: the databases are {there_are} here")
        session.use(databases[index])
    return OK


def _quit(session: Session, arguments: Arguments) -> bytes:
    session.closing = True
    return OK


def _reset(session: Session, arguments: Arguments) -> bytes:
    session.reset()
    return b"+RESET\r\n"


_LONGEST_NAME = 256
"""Bytes of a name that a connection keeps."""


def _valid_name(name: bytes, what: str = "Client names") -> bytes:
    if len(name) > _LONGEST_NAME:
        raise CommandError(f"ERR {what} cannot be longer than {_LONGEST_NAME} bytes.")
    if any(not 33 <= byte <= 126 for byte in name):
        raise CommandError(f"ERR {what} cannot contain spaces, newlines or special characters.")
    return name


def _set_name(session: Session, arguments: Arguments) -> bytes:
    session.client_name = _valid_name(arguments[2])
    return OK


def _get_name(session: Session, arguments: Arguments) -> bytes:
    return bulk(session.client_name) if session.client_name else session.null


def _set_info(session: Session, arguments: Arguments) -> bytes:
    name = quoted(arguments[2])
    if name.lower() not in session.library:
        raise CommandError(f"ERR Unrecognized option '{name}'")
    session.library[name.lower()] = _valid_name(arguments[3], name)
    return OK


def _id(session: Session, arguments: Arguments) -> bytes:
    return integer(session.id)


def _info(session: Session, arguments: Arguments) -> bytes:
    return session.text(f"{session.info}\n".encode())


async def _list(session: Session, arguments: Arguments) -> bytes:
    shown = _selection(arguments[2:])
    lines = []
    listed = [*session.door.sessions] if may_observe(session) else [session]
    for number, each in enumerate(listed):
        if not number % _LISTED_AT_ONCE:
            await session.take_turns()
        if shown(each):
            lines.append(f"{each.info}\n")
    return session.text("".join(lines).encode())


def _selection(options: Arguments) -> Callable[[Session], bool]:
    """Return which connections CLIENT LIST is asked for."""
    if not options:
        return lambda _: True
    option = options[0].upper()
    if option == b"TYPE" and len(options) == 2:
        kind = quoted(options[1])
        if kind.lower() not in _TYPES:
            raise CommandError(f"ERR Unknown client type '{kind}'")
        return lambda each: _type_of(each) == kind.lower()
    if option == b"ID" and len(options) > 1:
        if not all(map(bytes.isdigit, options[1:])):
            raise CommandError("ERR Invalid client ID")
        # A number of thousands of digits cannot be converted, and is no id.
        ids = {int(each) for each in options[1:] if len(each) < _LONGEST_NAME}
        return lambda each: each.id in ids
    raise CommandError(SYNTAX_ERROR)


_LISTED_AT_ONCE = 64

_TYPES = ("normal", "master", "replica", "slave", "pubsub")


def _type_of(session: Session) -> str:
    return "pubsub" if session.subscriptions.count("channel", "pattern") else "normal"


def may_observe(session: Session) -> bool:
    """Return whether the caller may see what concerns all callers."""
    logins = session.door.logins
    return logins is None or logins.control.may(Action.OBSERVE)


def _switch(session: Session, arguments: Arguments) -> bytes:
    if arguments[2].upper() not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX_ERROR)
    return OK


def _reply(session: Session, arguments: Arguments) -> bytes:
    mode = arguments[2].lower()
    if mode not in (b"on", b"off", b"skip"):
        raise CommandError(SYNTAX_ERROR)
    session.replies = "begins to skip" if mode == b"skip" else mode.decode()
    return OK


_Run = Callable[[Session, Arguments], bytes | Coroutine[Any, Any, bytes]]

_SUBCOMMANDS: dict[bytes, tuple[int, _Run]] = {
    b"SETNAME": (3, _set_name),
    b"GETNAME": (2, _get_name),
    b"SETINFO": (4, _set_info),
    b"ID": (2, _id),
    b"INFO": (2, _info),
    b"LIST": (-2, _list),
    b"NO-EVICT": (3, _switch),
    b"NO-TOUCH": (3, _switch),
    b"REPLY": (3, _reply),
    b"TRACKING": (-3, tracking),
    b"TRACKINGINFO": (2, tracking_info),
    b"GETREDIR": (2, get_redirect),
    b"CACHING": (3, caching),
}


async def _client(session: Session, arguments: Arguments) -> bytes:
    known = _SUBCOMMANDS.get(arguments[1].upper())
    if known is None:
        raise unknown_subcommand("CLIENT", arguments[1], _SUBCOMMANDS)
    arity, run = known
    if len(arguments) != arity and (arity > 0 or len(arguments) < -arity):
        raise wrong_number(f"client|{arguments[1].decode().lower()}")
    result = run(session, arguments)
    return result if isinstance(result, bytes) else await result


def wrong_number(name: str) -> CommandError:
    """Return the error for too many or too few arguments."""
    return CommandError(f"ERR wrong number of arguments for '{name}' command")


def unknown_subcommand(name: str, given: bytes, served: Iterable[bytes]) -> CommandError:
    """Return the error for a subcommand that is not served."""
    valid = ", ".join(sorted(each.decode() for each in served))
    return CommandError(
        f"ERR unknown subcommand '{quoted(given)}' of {name}: the ones served are {valid}"
    )


_NO_KEYS = (0, 0, 0)
_FLAGS = ("loading", "stale", "fast")


def _spec(
    name: str,
    arity: int,
    since: str,
    summary: str,
    answer: Callable[[Session, Arguments], bytes] | None = None,
    *,
    exclusive: bool = False,
    is_queued: bool = True,
) -> Spec:
    return Spec(
        name=name,
        arity=arity,
        summary=summary,
        group="connection",
        since=since,
        flags=_FLAGS,
        keys=_NO_KEYS,
        answer=answer,
        exclusive=exclusive,
        is_queued=is_queued,
    )


COMMANDS = (
    _spec("ping", -1, "1.0.0", "Answers PONG, or what it is given.", _ping),
    _spec("echo", 2, "1.0.0", "Answers what it is given.", _echo),
    replace(
        _spec("hello", -1, "6.0.0", "Chooses the version of the protocol.", exclusive=True),
        start=_hello,
    ),
    replace(_spec("auth", -2, "1.0.0", "Shows a token.", exclusive=True), start=_auth),
    _spec("select", 2, "1.0.0", "Chooses a database.", _select, exclusive=True),
    _spec("quit", -1, "1.0.0", "Closes the connection.", _quit, exclusive=True, is_queued=False),
    _spec("reset", 1, "6.2.0", "Resets the connection.", _reset, exclusive=True, is_queued=False),
    replace(
        _spec("client", -2, "2.4.0", "Describes and names connections.", exclusive=True),
        start=_client,
    ),
)
