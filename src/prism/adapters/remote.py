"""Driver whose backend is another Prism server: the client, as an implementation of the ports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prism.adapters.client.channel import TLS, Channel
from prism.adapters.client.endpoint import Addresses
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lifecycle import SERVING, serving_status
from prism.adapters.client.propagation import Forwarded, trace_context_source
from prism.adapters.client.servers import Servers, open_server
from prism.adapters.wire.relay import Relay
from prism.kit import closed
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
from prism.version import VERSION

_CLOSED = closed("the connection to the other server")

# For calls of the proxy itself; forwarded calls keep their own deadline.
_PATTERN_TIMEOUT = timedelta(seconds=5)

# The server declares the real ones, once connected.
_AT_BEST: Mapping[Capability, Declaration] = {
    capability: Declaration(Support.NATIVE, notes="as the other server declares")
    for capability in Capability
}


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Address of the other server, and how to connect to it."""

    address: str = setting(
        "127.0.0.1:9090", help="Prism server: host:port or unix:PATH, or several with commas"
    )
    timeout: timedelta = setting(timedelta(seconds=5), help="Timeout of each call to the server")
    tls: bool = setting(False, help="Use TLS")
    tls_ca: Path | None = setting(None, help="PEM file of the authority to trust")
    tls_cert: Path | None = setting(None, help="PEM file of the client's certificate")
    tls_key: Path | None = setting(None, help="PEM file of that certificate's key")
    tls_key_password: str | None = setting(
        None, help="Password of that key, if it is encrypted", secret=True
    )
    token: str | None = setting(
        None, help="Token of this server, for the policy of the other one", secret=True
    )

    def __post_init__(self) -> None:
        """Raise InvalidArgument if an address is none, or TLS files are given without TLS."""
        Addresses.of(self.address)
        if any((self.tls_ca, self.tls_cert, self.tls_key)) and not self.tls:
            raise InvalidArgument("TLS files are given and tls is false; set tls to true")

    @property
    def files(self) -> TLS | None:
        """Files of the connection; None: plain text."""
        if not self.tls:
            return None
        return TLS(self.tls_ca, self.tls_cert, self.tls_key, self.tls_key_password)


class Remote(KeyValueClient):
    """A `Driver` whose operations are calls to another Prism server, or several of one store.

    It repeats nothing: the application's client does, and repetitions of both would multiply.
    """

    def __init__(self) -> None:
        super().__init__(_CLOSED)
        self._open: Channel | Servers | None = None
        self._token: str | None = None
        self._profile = Profile("remote", VERSION, VersionKind.DIGEST)

    @property
    def profile(self) -> Profile:
        return self._profile

    @property
    def relay(self) -> Relay | None:
        """Relays operations as messages; None: not connected. See `RelayingDriver`."""
        return self._open if isinstance(self._open, Channel) else None

    async def initialize(self, settings: RemoteSettings) -> None:
        server = open_server(
            settings.address,
            timeout=settings.timeout,
            tls=settings.files,
            admin_token=settings.token,
            trace_context=trace_context_source(),
        )
        self._token = settings.token
        await self.connect(server if isinstance(server, Servers) else server.channel)

    async def connect(self, channel: Channel | Servers) -> None:
        """Use this channel, which `stop` closes, or this method if it fails.

        Raises:
            PrismError: sent by the server, or no server answers.
        """
        self._channel = self._open = channel
        try:
            self._profile = await self.fetch_profile()
            if isinstance(channel, Servers):
                await channel.wait(channel.timeout_s)
        except BaseException:
            await self.stop()
            raise

    async def reload(self, settings: RemoteSettings) -> None:
        """Use the token and the password of the key in these settings from now on."""
        if self._open is None:
            return
        if settings.files is not None:
            self._open.use_tls(settings.files)
        if settings.token != self._token:
            self._open.use_token(settings.token)
            self._token = settings.token

    async def start(self) -> None:
        """Do nothing: the server serves already."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        if self._open is not None:
            channel, self._open = self._open, None
            self._channel = _CLOSED
            await channel.close()

    async def health(self) -> Health:
        if self._open is None:
            return Health(HealthStatus.UNHEALTHY, "the connection is closed")
        details = {"backend": self._open.address}
        try:
            status = await serving_status(self._open)
        except PrismError as error:
            last = {**details, "last_error": error.message}
            return Health(HealthStatus.UNHEALTHY, error.message, last)
        details["remote_driver"] = self._profile.driver
        if status != SERVING:
            return Health(
                HealthStatus.UNHEALTHY, f"{self._open.address} answers and is {status}", details
            )
        return Health(HealthStatus.HEALTHY, f"{self._open.address} serves", details)


async def open_pattern(
    name: str, address: str, *, forwarded: Callable[[], Forwarded | None]
) -> Remote:
    """Return a driver that is connected to a pattern.

    Args:
        name: name of the pattern, for error messages.
        address: address of the pattern's gRPC services.
        forwarded: finds the call that is being forwarded, whose deadline and trace context
            are passed on.

    Raises:
        PrismError: the pattern does not answer, or does not serve.
    """
    driver = Remote()
    await driver.connect(
        Channel(
            address,
            timeout=_PATTERN_TIMEOUT,
            name=f"the pattern {name!r}",
            trace_context=trace_context_source(),
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
