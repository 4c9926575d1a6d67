"""Where a scan is: what a page token says, and what makes it void."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple, Self

from prism.ports import InvalidArgument

_DIGEST_BYTES = 8
_CURSOR_DIGITS = 20


class Place(NamedTuple):
    """A position in the keys of one server.

    Attributes:
        server: its name; empty: the first.
        run: of its process, whose hash seed the cursor depends on; empty where no
            cursor of that process is held yet.
        topology: of the cluster; empty: not one, or none seen yet.
        cursor: of SCAN.
        seen: digests of the keys that were returned out of what the cursor yields.
            A page may have room for a part of that; what is not seen is then asked
            for again, since a count of keys would mean others the next time.
    """

    server: str = ""
    run: str = ""
    topology: str = ""
    cursor: int = 0
    seen: frozenset[bytes] = frozenset()

    def token(self) -> str:
        seen = base64.b64encode(b"".join(sorted(self.seen))).decode()
        return ",".join((self.server, self.run, self.topology, str(self.cursor), seen))

    @classmethod
    def of_token(cls, token: str) -> Self:
        """The place that a token names.

        Raises:
            InvalidArgument: it was not made here.
        """
        try:
            server, run, topology, cursor, seen = token.rsplit(",", 4)
            raw = base64.b64decode(seen.encode("ascii"), validate=True)
        except (ValueError, binascii.Error):
            raise _malformed() from None
        # The cursor is a number of 64 bits without a sign.
        if not (cursor.isascii() and cursor.isdigit()):
            raise _malformed()
        if len(cursor) > _CURSOR_DIGITS or int(cursor) >= 1 << 64:
            raise _malformed()
        if len(raw) % _DIGEST_BYTES:
            raise _malformed()
        digests = (raw[at : at + _DIGEST_BYTES] for at in range(0, len(raw), _DIGEST_BYTES))
        return cls(server, run, topology, int(cursor), frozenset(digests))

    def having_seen(self, keys: Iterable[bytes]) -> Place:
        """The same place, with these keys returned."""
        return self._replace(seen=self.seen | {_digest(key) for key in keys})

    def has_seen(self, key: bytes) -> bool:
        """Whether an earlier page had it."""
        return bool(self.seen) and _digest(key) in self.seen


def _digest(key: bytes) -> bytes:
    return blake2b(key, digest_size=_DIGEST_BYTES).digest()


def _malformed() -> InvalidArgument:
    return InvalidArgument("the page token is malformed; begin without one")
