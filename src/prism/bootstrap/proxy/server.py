"""Servers of a proxy: an address for callers, and a socket for its patterns."""

from __future__ import annotations

from prism.adapters.grpc.transports.options import ListenerObserver
from prism.adapters.grpc.transports.tls import ServerTls
from prism.adapters.process import ProcessLauncher
from prism.bootstrap.application import GrpcServer
from prism.bootstrap.proxy.socket_dir import SocketDir


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
