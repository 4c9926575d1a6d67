"""End of a server of h2corn whose successor serves the same listening socket already.

h2corn takes its certificates once, so other certificates need another server. h2corn ends one
by GOAWAY, and closes each connection as soon as it has no call: requests that are on the way
then would be lost, and so would connections that are being made. Hence the old server first
stops accepting and finishes what it has accepted, and its connections stay open, through
descriptors of their own, until their peers have read GOAWAY and close them.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from prism.adapters.grpc.transports.connections import accepted_at

if TYPE_CHECKING:
    import h2corn

_SETTLE_S = 2.0
"""Time for connections that were just accepted to complete their handshakes."""

_PERIOD_S = 0.25

_LINGER_S = 5.0
"""Time for a peer to close a connection that the server has closed."""

_END_S = 1.0
"""Time for a server to end after its connections have ended."""


class Retirement:
    """End of one server, without the loss of a call.

    Args:
        server: server of h2corn.
        serving: task of its `serve`, which ends with its last call.
        listening: its descriptors of the listening socket.
        address: port or path at which it has accepted connections.
    """

    def __init__(
        self,
        server: h2corn.Server,
        serving: asyncio.Task[None],
        listening: Iterable[int],
        address: int | str,
    ) -> None:
        self._server = server
        self._serving = serving
        self._listening = frozenset(listening)
        self._address = address
        self._open: dict[int, _HeldConnection] = {}

    def stop_accepting(self) -> None:
        """Leave connections that are made from now on to the successor."""
        _stop_accepting(self._listening)

    async def run(self) -> None:
        """Return when the last call and the last connection have ended."""
        self._open = {each.socket.fileno(): each for each in _held(self._address)}
        try:
            await asyncio.sleep(_SETTLE_S)
            self._server.shutdown()
            while self._open or not self._serving.done():
                self._release()
                await asyncio.sleep(_PERIOD_S)
            await asyncio.gather(self._serving, return_exceptions=True)
        finally:
            for each in self._open.values():
                each.socket.close()

    async def end(self, grace: timedelta) -> None:
        """End the server now; after the grace, end its connections, and so its calls."""
        self._server.shutdown()
        await asyncio.wait([self._serving], timeout=grace.total_seconds())
        if not self._serving.done():
            for each in _held(self._address):
                with each.socket, suppress(OSError):
                    each.socket.shutdown(socket.SHUT_RDWR)
            await asyncio.wait([self._serving], timeout=_END_S)
        if self._serving.done():
            await asyncio.gather(self._serving, return_exceptions=True)

    def _release(self) -> None:
        """Close the connections that their peers have closed, or only this object has open."""
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLRDHUP)
        ended = {descriptor for descriptor, _ in poll.poll(0)}
        now = asyncio.get_running_loop().time()
        ours = _inodes_open_once()
        for descriptor, each in self._open.items():
            if each.inode not in ours:
                continue
            each.closed_at = each.closed_at or now
            if now - each.closed_at > _LINGER_S:
                ended.add(descriptor)
        for descriptor in ended:
            self._open.pop(descriptor).socket.close()


class _HeldConnection:
    """A connection that stays open while this object has a descriptor of it.

    Attributes:
        closed_at: time of the loop at which nobody else had it open; None: somebody has.
    """

    __slots__ = ("closed_at", "inode", "socket")

    def __init__(self, held: socket.socket) -> None:
        self.socket = held
        self.inode = os.fstat(held.fileno()).st_ino
        self.closed_at: float | None = None


def descriptors_of(listener: socket.socket) -> set[int]:
    """Return the descriptors of this process that are this listening socket."""
    inode = os.fstat(listener.fileno()).st_ino
    return {number for number, each in _sockets() if each == inode}


def _stop_accepting(listening: frozenset[int]) -> None:
    """Take the descriptors out of every epoll of this process: no event wakes their server.

    The listening socket itself stays as it is, for the successor.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError, ValueError):
            if os.readlink(f"/proc/self/fd/{name}") != "anon_inode:[eventpoll]":  # noqa: PTH115
                continue
            lines = Path(f"/proc/self/fdinfo/{name}").read_text().splitlines()
            watched = {int(line.split()[1]) for line in lines if line.startswith("tfd:")}
            # A copy, since an epoll object closes its descriptor.
            with select.epoll.fromfd(os.dup(int(name))) as poll:
                for descriptor in watched & listening:
                    poll.unregister(descriptor)


def _held(address: int | str) -> Iterator[_HeldConnection]:
    seen: set[int] = set()
    for descriptor, inode in _sockets():
        if inode in seen or accepted_at(descriptor) != address:
            continue
        seen.add(inode)
        with suppress(OSError):
            yield _HeldConnection(socket.socket(fileno=os.dup(descriptor)))


def _inodes_open_once() -> set[int]:
    once: set[int] = set()
    more: set[int] = set()
    for _, inode in _sockets():
        (more if inode in once else once).add(inode)
    return once - more


def _sockets() -> list[tuple[int, int]]:
    """Return the descriptor and inode of every socket of this process."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError, ValueError):
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if target.startswith("socket:["):
                found.append((int(name), int(target[8:-1])))
    return found
