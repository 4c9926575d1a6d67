"""Cursors of SCAN: numbers that stand for page tokens."""

from __future__ import annotations

from collections import Counter, OrderedDict
from secrets import randbits

from prism.adapters.resp.errors import CommandError

Scan = tuple[object, str]
"""Database and prefix of a scan."""

MAX_CURSORS = 10_000

_TRIES = 16


class Cursors:
    """Page tokens by number, for all connections; the oldest are forgotten beyond the limit.

    Those of connections that have made more than their share go first: one that scans quickly
    does not end the scans of others.

    A page token is text and a cursor a number of 64 bits. The numbers are random: a cursor from
    before a restart, or of another server, is refused and not taken for one of these.
    """

    def __init__(self, most: int = MAX_CURSORS) -> None:
        self._most = most
        self._tokens: OrderedDict[int, tuple[Scan, str, str]] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def put(self, scan: Scan, token: str, connection: str) -> int:
        """Return the cursor of a page token, which any connection may use."""
        cursor = randbits(62) | 1
        self._tokens[cursor] = (scan, token, connection)
        self._counts[connection] += 1
        if len(self._tokens) > self._most:
            self._forget_one()
        return cursor

    def _forget_one(self) -> None:
        tokens, counts = self._tokens, self._counts
        share = self._most // len(counts)
        for _ in range(_TRIES):
            oldest = next(iter(tokens))
            if counts[tokens[oldest][2]] > share:
                break
            tokens.move_to_end(oldest)
        _, (_, _, connection) = tokens.popitem(last=False)
        counts[connection] -= 1
        if not counts[connection]:
            del counts[connection]

    def get(self, cursor: int, scan: Scan) -> str:
        """Return the page token of a cursor; zero begins a scan.

        Raises:
            CommandError: the cursor is unknown, or of another scan.
        """
        if not cursor:
            return ""
        known = self._tokens.get(cursor)
        if known is None:
            raise CommandError("ERR invalid cursor: it is not known any more; begin again with 0")
        if known[0] != scan:
            raise CommandError(
                "ERR invalid cursor: it is of a scan with another MATCH, or of another database"
            )
        self._tokens.move_to_end(cursor)
        return known[1]
