"""Listening sockets: bound once, with keepalive, and kept for as long as the server lives."""

from __future__ import annotations

import errno
import os
import resource
import socket
from pathlib import Path

from prism.ports import PreconditionFailed

BACKLOG = 1024

# A peer that vanished is found after 30 seconds, and its resources are freed.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    # The same when data is on the way, or when the peer has closed its window.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)

_MOST_DESCRIPTORS = 1 << 16

_MOST_CONNECTIONS = 10_000


def listen_tcp(host: str, port: int, *, remedy: str) -> socket.socket:
    """Listen on a TCP port; connections accepted from the socket inherit keepalive.

    Args:
        host: name or address; of several addresses the first is taken.
        port: 0 picks a free one.
        remedy: what to do when the port is taken.

    Raises:
        PreconditionFailed: the port is taken, or the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise PreconditionFailed(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option, value in _KEEPALIVE:
            listener.setsockopt(level, option, value)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PreconditionFailed(
                f"port {port} on {host} is taken by another process; {remedy}"
            ) from None
        raise PreconditionFailed(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket that only its owner can connect to.

    A socket file that a dead server left is replaced.

    Raises:
        PreconditionFailed: another process serves on it, or it cannot be made.
    """
    clear_unix_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A chmod after the bind would leave the socket open to others for a moment.
    umask = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PreconditionFailed(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.umask(umask)
    return listener


def clear_unix_socket(path: Path) -> None:
    """Remove the socket file that a dead server left.

    Raises:
        PreconditionFailed: a server answers on it, or it is not a socket.
    """
    if not path.exists():
        if not path.parent.is_dir():
            raise PreconditionFailed(f"cannot listen on {path}: {path.parent} is not a folder")
        return
    if not path.is_socket():
        raise PreconditionFailed(f"cannot listen on {path}: it exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise PreconditionFailed(f"cannot listen on {path}: another process serves on it")


def raise_descriptor_limit() -> int:
    """Raise the limit on descriptors of this process as far as it may; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft if soft != resource.RLIM_INFINITY else _MOST_DESCRIPTORS


def default_max_connections() -> int:
    """Return a bound on connections that leaves half of the free descriptors to others.

    The others are the backend's connections, the HTTP port, patterns, files.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    free = limit - open_descriptors()
    return max(4, min(free // 2, _MOST_CONNECTIONS))


def open_descriptors() -> int:
    """Return the number of descriptors that this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
