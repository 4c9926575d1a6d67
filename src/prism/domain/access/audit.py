"""Events for the audit log: refusals, wrong tokens, and commands to a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prism.domain.access.identity import current_caller
from prism.domain.admission import connection


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that happened, and who did it.

    Attributes:
        event: `refused`, `wrong token` or `command`.
        what: what was asked for, such as `read`, or the method of a command.
        outcome: `ok`, or the reason of the error.
        peer: address of the caller; empty: it is not known.
        identity: names of the caller; empty: nobody has identified it.
        key: key, or prefix of a scan or watch; None: it was about no key.
        pattern: name of the proxy's pattern; empty: there is none.
    """

    event: str
    what: str
    outcome: str
    peer: str
    identity: tuple[str, ...]
    key: str | None = None
    pattern: str = ""


Record = Callable[[AuditEvent], None]
"""Writes an event to the audit log; never raises."""


def event_of_caller(
    event: str, what: str, outcome: str, *, key: str | None = None, pattern: str = ""
) -> AuditEvent:
    """Return an event of the caller of the current request."""
    caller = current_caller.get()
    names = () if caller is None else caller.identity.names
    return AuditEvent(event, what, outcome, connection.get(), names, key, pattern)
