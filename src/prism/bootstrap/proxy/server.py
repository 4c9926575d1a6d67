"""Servers of a proxy for callers and for patterns, and the private directory of their sockets."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from prism.adapters.grpc.transports.options import ListenerObserver
from prism.adapters.grpc.transports.tls import ServerTls
from prism.adapters.process import ProcessLauncher
from prism.bootstrap.application import GrpcServer
from prism.ports import PreconditionFailed


class ProxyServer:
    """Implements `GrpcServer` by two servers, which stop together.

    Args:
        calls: server for callers.
        control: server for patterns, on a socket in the directory.
        launcher: launcher whose processes are killed if they outlive the servers.
    """

    def __init__(
        self,
        calls: GrpcServer,
        control: GrpcServer,
        launcher: ProcessLauncher,
        socket_dir: SocketDir,
    ) -> None:
        self._calls = calls
        self._control = control
        self._launcher = launcher
        self._socket_dir = socket_dir

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses for callers."""
        return self._calls.addresses

    def observe(self, observer: ListenerObserver) -> None:
        self._calls.observe(observer)
        self._control.observe(observer)

    async def start(self) -> tuple[str, ...]:
        self._socket_dir.open()
        await self._control.start()
        return await self._calls.start()

    async def reload_tls(self, tls: ServerTls) -> bool:
        return await self._calls.reload_tls(tls)

    async def stop(self) -> None:
        try:
            await self._calls.stop()
            await self._control.stop()
            await self._launcher.close()
        finally:
            self._socket_dir.close()


# The path of a socket has about a hundred bytes, and a file name in the directory some fifty.
_MAX_PATH_BYTES = 45


class SocketDir:
    """Directory that only this user can enter, removed when it is closed.

    Attributes:
        path: path with a random name, so that an abandoned directory does not block another proxy.
    """

    def __init__(self) -> None:
        self.path = _parent() / f"prism-{secrets.token_hex(4)}"

    @property
    def control_socket(self) -> Path:
        """Path of the socket at which patterns register."""
        return self.path / "control.sock"

    def open(self) -> None:
        """Make the directory.

        Raises:
            PreconditionFailed: the operating system refuses.
        """
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise PreconditionFailed(
                f"the directory {self.path} for the sockets of patterns cannot be made: "
                f"{error.strerror}; set TMPDIR to another place"
            ) from None

    def close(self) -> None:
        """Remove the directory and its files; safe if it was never made."""
        shutil.rmtree(self.path, ignore_errors=True)


def _parent() -> Path:
    """https://specifications.freedesktop.org/basedir-spec/latest/"""
    for text in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        fits = len(os.fsencode(text)) + len("/prism-01234567") <= _MAX_PATH_BYTES
        if text and fits and os.access(text, os.W_OK | os.X_OK):
            return Path(text)
    return Path("/tmp")  # noqa: S108  (the directory in it has a random name and one owner)
