"""Audit log: one JSON object on one line for each event, at a limited rate."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from prism.domain.access.audit import AuditEvent
from prism.domain.token_bucket import TokenBucket

log = logging.getLogger(__name__)

STDOUT = "-"

_RATES = {"operation": (1000, 2000)}
_OTHER_RATES = (20, 200)
"""Lines of each kind of event: how many in a second, and how many at once before that.

Further ones are counted in the next line of the kind.
"""

_MAX_KEYS = 100
"""Keys in the line of a batch or transaction."""


class AuditLog:
    """Writes events to a file, or to stdout.

    The file is opened for each line, so that it can be moved away at any time.

    Args:
        target: path of the file, or `-` for stdout.
        keys: whether the lines have keys.
    """

    def __init__(self, target: str, *, keys: bool) -> None:
        self._target = target
        self._keys = keys
        self._limits: dict[str, TokenBucket] = {}
        self._omitted: dict[str, int] = {}
        self._complaints = TokenBucket(per_second=1 / 60, burst=1)

    def check(self) -> None:
        """Raise OSError if the file cannot be written; it is created if it does not exist."""
        if self._target != STDOUT:
            Path(self._target).open("ab").close()

    def record(self, event: AuditEvent) -> None:
        """Write an event, unless too many of its kind were written. Never raises."""
        limit = self._limits.get(event.event)
        if limit is None:
            limit = self._limits[event.event] = TokenBucket(*_RATES.get(event.event, _OTHER_RATES))
        if not limit.take():
            self._omitted[event.event] = self._omitted.get(event.event, 0) + 1
            return
        self._write(self._fields(event) | self._omitted_of(event.event))

    def close(self) -> None:
        """Write how many events were omitted since the last line of their kind."""
        for kind in [*self._omitted]:
            self._write({"time": _now(), "event": kind} | self._omitted_of(kind))

    def _fields(self, event: AuditEvent) -> dict[str, object]:
        fields: dict[str, object] = {
            "time": _now(),
            "event": event.event,
            "what": event.what,
            "outcome": event.outcome,
            "peer": event.peer or None,
            "identity": list(event.identity),
        }
        if event.pattern:
            fields["pattern"] = event.pattern
        if event.keys is not None:
            fields["items"] = len(event.keys)
        if event.failed:
            fields["failed"] = event.failed
        if self._keys and event.key is not None:
            fields["key"] = event.key
        if self._keys and event.keys is not None:
            fields["keys"] = event.keys[:_MAX_KEYS]
        return fields

    def _omitted_of(self, kind: str) -> dict[str, object]:
        omitted = self._omitted.pop(kind, 0)
        return {"omitted_before": omitted} if omitted else {}

    def _write(self, fields: dict[str, object]) -> None:
        # ASCII: what a caller sent cannot look like another line, nor be no valid text.
        line = json.dumps(fields) + "\n"
        try:
            if self._target == STDOUT:
                sys.stdout.write(line)
                sys.stdout.flush()
            else:
                with Path(self._target).open("a", encoding="ascii") as file:
                    file.write(line)
        except (OSError, ValueError) as error:
            if self._complaints.take():
                log.error("the audit log cannot be written: %s", error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
