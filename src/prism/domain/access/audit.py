"""Events for the audit log: refusals, wrong tokens, commands to a server, and operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prism.domain.access.caller import current_caller
from prism.domain.admission import connection
from prism.ports import PrismError


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that happened, and who did it.

    Attributes:
        event: `refused`, `wrong token`, `command` or `operation`.
        what: what was asked for, such as `read`, or the method of a command, or the operation.
        outcome: `ok`, or the reason of the error.
        peer: address of the caller; empty: it is not known.
        identity: names of the caller; empty: nobody has identified it.
        key: key, or prefix of a scan or watch; None: it was about no key.
        pattern: name of the proxy's pattern; empty: there is none.
        keys: keys of a batch or transaction; None: it was neither.
        failed: number of items of a batch that failed.
    """

    event: str
    what: str
    outcome: str
    peer: str
    identity: tuple[str, ...]
    key: str | None = None
    pattern: str = ""
    keys: tuple[str, ...] | None = None
    failed: int = 0


Record = Callable[[AuditEvent], None]
"""Writes an event to the audit log; never raises."""


def event_of_caller(
    event: str, what: str, outcome: str, *, key: str | None = None, pattern: str = ""
) -> AuditEvent:
    """Return an event of the caller of the current request."""
    caller = current_caller.get()
    names = () if caller is None else caller.identity.names
    return AuditEvent(event, what, outcome, connection.get(), names, key, pattern)


@contextmanager
def recorded(record: Record, event: Callable[[str], AuditEvent]) -> Iterator[None]:
    """Record how the body ended.

    Args:
        event: makes the event from the outcome: `ok`, the reason of the error, or `CANCELLED`.
    """
    outcome = "CANCELLED"
    try:
        yield
        outcome = "ok"
    except PrismError as error:
        outcome = error.reason
        raise
    except Exception:
        outcome = "INTERNAL"
        raise
    finally:
        record(event(outcome))
