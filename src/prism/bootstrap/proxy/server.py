"""What a proxy listens on: an address for callers, and a socket for its patterns."""

from __future__ import annotations

from prism.adapters.process import ProcessLauncher
from prism.bootstrap.application import GrpcServer
from prism.bootstrap.proxy.folder import PrivateFolder


class ProxyServer:
    """Implements `GrpcServer` by two: patterns can call back for as long as callers can call.

    Args:
        calls: for callers.
        control: for patterns; in the folder.
        launcher: whose processes do not outlive this, whatever they do.
    """

    def __init__(
        self,
        calls: GrpcServer,
        control: GrpcServer,
        launcher: ProcessLauncher,
        folder: PrivateFolder,
    ) -> None:
        self._calls = calls
        self._launcher = launcher
        self._control = control
        self._folder = folder

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where callers call."""
        return self._calls.addresses

    async def start(self) -> tuple[str, ...]:
        self._folder.open()
        await self._control.start()
        return await self._calls.start()

    async def stop(self) -> None:
        try:
            await self._calls.stop()
            await self._control.stop()
            await self._launcher.close()
        finally:
            self._folder.close()
