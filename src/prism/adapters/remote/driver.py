"""The driver whose backend is another Prism server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from prism.adapters.remote.channel import Channel, Closed
from prism.adapters.remote.health import SERVING, ask_health
from prism.adapters.remote.key_value import RemoteKeyValue
from prism.adapters.remote.propagation import propagation
from prism.adapters.remote.tls import TLS
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Capability,
    Declaration,
    DrainReport,
    DriverSpec,
    Health,
    HealthStatus,
    InvalidArgument,
    PrismError,
    Profile,
    Support,
    VersionKind,
    setting,
)

VERSION = version("prism")

# What is really there, and how, is the server's to say once connected.
_AT_BEST: Mapping[Capability, Declaration] = {
    capability: Declaration(Support.NATIVE, notes="as the server behind it declares")
    for capability in Capability
}


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Where the other server is."""

    address: str = setting("127.0.0.1:9090", help="Prism server: host:port or unix:PATH")
    timeout: timedelta = setting(timedelta(seconds=5), help="Of each call to it")
    tls: bool = setting(False, help="Talk TLS")
    tls_ca: Path | None = setting(None, help="PEM file of the authority to trust")
    tls_cert: Path | None = setting(None, help="PEM file of our certificate")
    tls_key: Path | None = setting(None, help="PEM file of its key")


class Remote(RemoteKeyValue):
    """A `Driver` whose operations are calls to another Prism server."""

    def __init__(self) -> None:
        super().__init__(Closed())
        self._open: Channel | None = None
        self._profile = Profile("remote", VERSION, VersionKind.DIGEST)

    @property
    def profile(self) -> Profile:
        return self._profile

    async def initialize(self, settings: RemoteSettings) -> None:
        given = (settings.tls_ca, settings.tls_cert, settings.tls_key)
        if any(given) and not settings.tls:
            raise InvalidArgument("TLS files are given and tls is false; set tls to true")
        self._channel = self._open = Channel(
            settings.address,
            timeout=settings.timeout,
            tls=TLS(*given) if settings.tls else None,
            admin_token=None,
            trace_context=propagation(),
        )
        try:
            self._profile = await self.fetch_profile()
        except BaseException:
            await self.stop()
            raise

    async def start(self) -> None:
        """Nothing to begin: the server serves already."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        if self._open is not None:
            channel, self._open = self._open, None
            self._channel = Closed()
            await channel.close()

    async def health(self) -> Health:
        if self._open is None:
            return Health(HealthStatus.UNHEALTHY, "the connection is closed")
        details = {"backend": self._open.address}
        try:
            serving = await ask_health(self._open)
        except PrismError as error:
            last = {**details, "last_error": error.message}
            return Health(HealthStatus.UNHEALTHY, error.message, last)
        details["remote_driver"] = self._profile.driver
        if serving != SERVING:
            return Health(
                HealthStatus.UNHEALTHY, f"{self._open.address} is reached and {serving}", details
            )
        return Health(HealthStatus.HEALTHY, f"{self._open.address} serves", details)


DRIVER = DriverSpec(
    name="remote",
    version=VERSION,
    summary="Another Prism server",
    settings=RemoteSettings,
    factory=Remote,
    capabilities=_AT_BEST,
)
