"""The driver whose backend is another Prism server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from prism.adapters.remote.calls import Closed
from prism.adapters.remote.channel import Channel, Relay
from prism.adapters.remote.health import SERVING, ask_health
from prism.adapters.remote.key_value import RemoteKeyValue
from prism.adapters.remote.propagation import Forwarded, propagation
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

# Of what a proxy asks a pattern on its own account.
_PATTERN_TIMEOUT = timedelta(seconds=5)

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

    @property
    def relay(self) -> Relay | None:
        """Hands operations on as they came, while it is connected; see `Channel.relay`."""
        return None if self._open is None else self._open.relay

    async def initialize(self, settings: RemoteSettings) -> None:
        given = (settings.tls_ca, settings.tls_cert, settings.tls_key)
        if any(given) and not settings.tls:
            raise InvalidArgument("TLS files are given and tls is false; set tls to true")
        await self.connect(
            Channel(
                settings.address,
                timeout=settings.timeout,
                tls=TLS(*given) if settings.tls else None,
                admin_token=None,
                trace_context=propagation(),
            )
        )

    async def connect(self, channel: Channel) -> None:
        """Use this channel, which `stop` closes; it is closed as well when this fails.

        Raises:
            PrismError: as the server said, or there is none.
        """
        self._channel = self._open = channel
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


async def open_pattern(
    name: str, address: str, *, forwarded: Callable[[], Forwarded | None]
) -> Remote:
    """A driver whose backend is the pattern of this name, connected.

    Args:
        name: of the pattern, by which errors call it.
        address: of its gRPC services.
        forwarded: finds the call that is being forwarded, whose deadline and trace context
            go with it.

    Raises:
        PrismError: it does not answer, or does not serve.
    """
    driver = Remote()
    await driver.connect(
        Channel(
            address,
            timeout=_PATTERN_TIMEOUT,
            tls=None,
            admin_token=None,
            called=f"the pattern {name!r}",
            trace_context=propagation(),
            forwarded=forwarded,
        )
    )
    return driver


DRIVER = DriverSpec(
    name="remote",
    version=VERSION,
    summary="Another Prism server",
    settings=RemoteSettings,
    factory=Remote,
    capabilities=_AT_BEST,
)
