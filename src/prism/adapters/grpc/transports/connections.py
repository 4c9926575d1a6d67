"""Connections of a listening socket: how many are open, and refusals beyond the bound."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat
import struct
from contextlib import suppress

_PERIOD_S = 0.25
_MOST_AT_ONCE = 512

_ENHANCE_YOUR_CALM = 0xB
_REASON = b"too many connections"


def _frame(kind: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame on the connection itself (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + payload


# SETTINGS comes first (section 3.4); GOAWAY says that no stream was served (section 6.8).
REFUSAL = _frame(4, b"") + _frame(7, struct.pack(">II", 0, _ENHANCE_YOUR_CALM) + _REASON)


def connections_at(addresses: tuple[str, ...], maximum: int) -> int:
    """Return the number of open connections of a server at these addresses.

    Args:
        addresses: `host:port` or `unix:PATH`; empty: it does not listen.
        maximum: number to return when no descriptor is free to look.
    """
    try:
        return sum(
            count_connections(
                each[5:] if each.startswith("unix:") else int(each.rpartition(":")[2])
            )
            for each in addresses
        )
    except OSError:
        return maximum


def count_connections(address: int | str) -> int:
    """Return the number of open connections that were accepted at an address.

    The server that accepts them does not tell, so this looks through the descriptors of
    the process: some microseconds for each.

    Args:
        address: port, or path of a Unix socket.

    Raises:
        OSError: no descriptor is free to look.
    """
    return len(
        {
            inode
            for descriptor in map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208
            if accepted_at(descriptor) == address and (inode := _inode_of(descriptor))
        }
    )


def _inode_of(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def accepted_at(descriptor: int) -> int | str | None:
    """Return the local port or path of a connection; None: it is not a connection."""
    try:
        # A copy, since the descriptor may be closed and used again meanwhile.
        copy = os.dup(descriptor)
    except OSError:
        return None
    try:
        if not stat.S_ISSOCK(os.fstat(copy).st_mode):
            os.close(copy)
            return None
        peer = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return None
    with peer:
        if peer.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        return place_of(peer)


def place_of(bound: socket.socket) -> int | str:
    """Return the local port or path of a socket."""
    name = bound.getsockname()
    # The address is left out: a server that listens on all of them accepts on each.
    return int(name[1]) if isinstance(name, tuple) else str(name)


class ConnectionGuard:
    """Refuses connections that the server leaves waiting because it has its maximum.

    Without the guard they would wait in silence. A client learns the reason by GOAWAY.

    Args:
        listener: socket that the server accepts from.
        max_connections: number of connections at which the server stops accepting.

    Attributes:
        refused: number of connections that were refused.
    """

    def __init__(self, listener: socket.socket, max_connections: int) -> None:
        self._listener = listener
        self._max_connections = max_connections
        self.refused = 0

    async def run(self) -> None:
        """Look at the listener at intervals, until cancelled."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        waited = False
        while True:
            await asyncio.sleep(_PERIOD_S)
            waits = bool(poll.poll(0))
            # What waits for the first time may be about to be accepted.
            if waits and waited:
                with suppress(OSError):
                    await self._refuse_waiting()
            waited = waits

    async def _refuse_waiting(self) -> None:
        count = await asyncio.to_thread(count_connections, place_of(self._listener))
        if count < self._max_connections:
            return
        for _ in range(_MOST_AT_ONCE):
            peer, _ = self._listener.accept()
            with peer, suppress(OSError):
                self.refused += 1
                peer.setblocking(False)
                peer.send(REFUSAL)
                peer.shutdown(socket.SHUT_WR)
                # Closing with unread bytes would reset the connection and lose the refusal.
                peer.recv(65536)
