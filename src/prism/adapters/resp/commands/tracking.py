"""CLIENT TRACKING: tells a client which keys it should forget, for a cache of its own.

https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from __future__ import annotations

from itertools import pairwise

from prism.adapters.resp.arguments import option_value, quoted
from prism.adapters.resp.errors import SYNTAX_ERROR, CommandError
from prism.adapters.resp.parser import Arguments
from prism.adapters.resp.replies import OK, bulk, bulks, integer
from prism.adapters.resp.session import Session
from prism.adapters.resp.subscriptions import Keys, Listener
from prism.ports import Event

_KIND = "prefix"

_REFUSED = {
    b"NOLOOP": "Prism does not know who changed a key, so it cannot leave your own changes out",
    b"REDIRECT": "use RESP3, where one connection does both",
    b"OPTIN": "every key with the prefix is tracked",
    b"OPTOUT": "every key with the prefix is tracked",
}


async def tracking(session: Session, arguments: Arguments) -> bytes:
    """Start or stop telling the client of changed keys."""
    mode = arguments[2].upper()
    if mode not in (b"ON", b"OFF"):
        raise CommandError(SYNTAX_ERROR)
    prefixes, is_broadcast = _options_of(arguments)
    subscriptions = session.subscriptions
    if mode == b"OFF":
        subscriptions.remove([(_KIND, name) for name in subscriptions.of_kind(_KIND)])
        return OK
    if not session.resp3:
        raise CommandError("ERR CLIENT TRACKING needs RESP3 here: send HELLO 3 first")
    if prefixes and not is_broadcast:
        raise CommandError("ERR PREFIX option requires BCAST mode to be enabled")
    # Without BCAST, Redis reports keys that were read. Reporting others too does no harm.
    wanted = prefixes or [b""]
    subscriptions.check_number(_KIND, wanted)
    _check_overlap(subscriptions.of_kind(_KIND), wanted)

    def listener(event: Event) -> None:
        subscriptions.invalidate(event.key.encode())

    new: dict[tuple[str, bytes], tuple[tuple[Keys, ...], Listener]] = {
        (_KIND, prefix): ((Keys(session.database, prefix.decode()),), listener) for prefix in wanted
    }
    await subscriptions.add(new)
    return OK


def _options_of(arguments: Arguments) -> tuple[list[bytes], bool]:
    """Return the prefixes, and whether BCAST is among the options."""
    prefixes: list[bytes] = []
    is_broadcast = False
    at = 3
    while at < len(arguments):
        option = arguments[at].upper()
        if option in _REFUSED:
            raise CommandError(
                f"ERR CLIENT TRACKING has no {option.decode()} here: {_REFUSED[option]}"
            )
        if option == b"PREFIX":
            prefixes.append(option_value(arguments, at))
            at += 1
        elif option == b"BCAST":
            is_broadcast = True
        else:
            raise CommandError(SYNTAX_ERROR)
        at += 1
    return prefixes, is_broadcast


def _check_overlap(known: list[bytes], wanted: list[bytes]) -> None:
    """Raise if a key would be reported twice; a repeated prefix is allowed."""
    others = {*known}.difference(wanted)
    # In this order, a prefix of another is a prefix of the next one.
    for shorter, longer in pairwise(sorted([*others, *wanted])):
        if longer.startswith(shorter):
            which = "an existing" if shorter in others or longer in others else "another provided"
            prefix, other = (longer, shorter) if shorter in others else (shorter, longer)
            raise CommandError(
                f"ERR Prefix '{quoted(prefix)}' overlaps with {which} prefix "
                f"'{quoted(other)}'. Prefixes for a single client must not overlap."
            )


def tracking_info(session: Session, arguments: Arguments) -> bytes:
    """Describe what is tracked."""
    prefixes = session.subscriptions.of_kind(_KIND)
    flags = (b"on", b"bcast") if prefixes else (b"off",)
    return session.map(
        [
            *(bulk(b"flags"), session.set([bulk(flag) for flag in flags])),
            *(bulk(b"redirect"), integer(0 if prefixes else -1)),
            *(bulk(b"prefixes"), bulks(prefixes)),
        ]
    )


def get_redirect(session: Session, arguments: Arguments) -> bytes:
    """Tell that nothing is redirected."""
    return integer(0 if session.subscriptions.of_kind(_KIND) else -1)


def caching(session: Session, arguments: Arguments) -> bytes:
    """Refuse to track a single key."""
    raise CommandError(
        "ERR CLIENT CACHING is not served: with CLIENT TRACKING ON every key is tracked"
    )
