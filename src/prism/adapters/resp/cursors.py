"""Cursors of SCAN: numbers that stand for page tokens."""

from __future__ import annotations

from collections import OrderedDict
from secrets import randbits

from prism.adapters.resp.errors import CommandError

Scan = tuple[object, str]
"""Database and prefix of a scan."""

MAX_CURSORS = 10_000


class Cursors:
    """Page tokens by number, for all connections; the oldest are forgotten beyond the limit.

    A page token is text and a cursor a number of 64 bits. The numbers are random: a cursor from
    before a restart, or of another server, is refused and not taken for one of these.
    """

    def __init__(self, most: int = MAX_CURSORS) -> None:
        self._most = most
        self._tokens: OrderedDict[int, tuple[Scan, str]] = OrderedDict()

    def put(self, scan: Scan, token: str) -> int:
        """Return the cursor of a page token."""
        cursor = randbits(62) | 1
        self._tokens[cursor] = (scan, token)
        if len(self._tokens) > self._most:
            self._tokens.popitem(last=False)
        return cursor

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
