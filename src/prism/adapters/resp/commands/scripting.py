"""Commands that run scripts, of which only some are known."""

from __future__ import annotations

from prism.adapters.resp.arguments import integer_of, keys_of
from prism.adapters.resp.command import Spec
from prism.adapters.resp.commands.connection import unknown_subcommand, wrong_number
from prism.adapters.resp.errors import CommandError
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import OK, array, bulk, integer
from prism.adapters.resp.scripts import NO_SCRIPT
from prism.adapters.resp.session import Session
from prism.domain.access.policy import Action

_DIGEST_DIGITS = 40

_FLUSHES = (b"SYNC", b"ASYNC")


async def _eval(session: Session, arguments: Arguments) -> bytes:
    scripts = session.door.scripts
    keys, rest = _split(arguments)
    return await scripts.run(session, scripts.load(arguments[1]), keys, rest)


async def _evalsha(session: Session, arguments: Arguments) -> bytes:
    if len(arguments[1]) != _DIGEST_DIGITS:
        raise CommandError(NO_SCRIPT)
    keys, rest = _split(arguments)
    return await session.door.scripts.run(session, arguments[1], keys, rest)


def _split(arguments: Arguments) -> tuple[list[str], Arguments]:
    """Return the keys, and the arguments after them."""
    count = integer_of(arguments[2])
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    end = 3 + count
    if end > len(arguments):
        raise CommandError("ERR Number of keys can't be greater than number of args")
    return keys_of(arguments[3:end]), arguments[end:]


def eval_keys(arguments: Arguments) -> Arguments:
    """Return the keys among the arguments of EVAL and EVALSHA."""
    try:
        end = 3 + int(arguments[2])
    except ValueError:
        return []
    return arguments[3:end]


def _script(session: Session, arguments: Arguments) -> bytes:
    scripts, name = session.door.scripts, arguments[1].upper()
    if name == b"LOAD":
        if len(arguments) != 3:
            raise wrong_number("script|load")
        return bulk(scripts.load(arguments[2]))
    if name == b"EXISTS":
        if len(arguments) == 2:
            raise wrong_number("script|exists")
        return array([integer(scripts.is_loaded(digest)) for digest in arguments[2:]])
    if name == b"FLUSH":
        if len(arguments) > 3 or (len(arguments) == 3 and arguments[2].upper() not in _FLUSHES):
            raise CommandError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
        logins = session.door.logins
        if logins is not None:
            # The scripts of the other callers would have gone too.
            logins.control.check_server(Action.ADMIN)
        scripts.clear()
        return OK
    raise unknown_subcommand("SCRIPT", arguments[1], [b"EXISTS", b"FLUSH", b"LOAD"])


COMMANDS = (
    Spec(
        name="eval",
        arity=-3,
        summary="Runs a script that is known.",
        group="scripting",
        since="2.6.0",
        flags=("noscript", "movablekeys", "write"),
        keys=(0, 0, 0),
        find_keys=eval_keys,
        start=_eval,
    ),
    Spec(
        name="evalsha",
        arity=-3,
        summary="Runs a script that was loaded.",
        group="scripting",
        since="2.6.0",
        flags=("noscript", "movablekeys", "write"),
        keys=(0, 0, 0),
        find_keys=eval_keys,
        start=_evalsha,
    ),
    Spec(
        name="script",
        arity=-2,
        summary="Loads a script that is known.",
        group="scripting",
        since="2.6.0",
        flags=("noscript",),
        keys=(0, 0, 0),
        answer=_script,
    ),
)
