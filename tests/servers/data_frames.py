"""Finds the DATA frames in what a server sends over HTTP/2 without TLS."""

from __future__ import annotations

_HEADER_BYTES = 9
_DATA = 0


class DataFrames:
    """Reader of the frames of one direction; HTTP-aware proxies count DATA, and no pings."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def found_in(self, data: bytes) -> bool:
        """Return whether a DATA frame with content ends in these bytes, which follow the last."""
        self._unread += data
        found = False
        while len(self._unread) >= _HEADER_BYTES:
            length = int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < _HEADER_BYTES + length:
                break
            found = found or (self._unread[3] == _DATA and length > 0)
            del self._unread[: _HEADER_BYTES + length]
        return found
