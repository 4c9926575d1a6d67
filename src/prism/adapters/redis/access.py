"""Credentials and TLS files of connections: both may change while connections are made."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TypedDict

from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection
from redis.credentials import CredentialProvider
from redis.driver_info import DriverInfo

from prism.adapters.redis.settings import Address, RedisSettings, no_retries, uses_tls
from prism.kit import ClientTls
from prism.ports import InvalidArgument
from prism.version import VERSION


class Login(CredentialProvider):
    """User name and password, which redis-py asks for when it opens a connection."""

    def __init__(self, username: str | None, password: str | None) -> None:
        self.username = username
        self.password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        if self.username:
            return self.username, self.password or ""
        # redis-py does not log in where there is nothing.
        return (self.password,) if self.password else ()  # type: ignore[return-value]

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


class Access:
    """How connections to the servers of one address log in and encrypt.

    Attributes:
        login: credentials for the servers.
        sentinel_login: credentials for the sentinels.
        tls: TLS files; None: TLS is off.

    Raises:
        InvalidArgument: a TLS file is not usable, or TLS is off and there are files.
    """

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        files = (settings.tls_ca, settings.tls_cert, settings.tls_key)
        if any(files) and not uses_tls(settings, address):
            raise InvalidArgument("TLS files are set and TLS is off; set tls, or use rediss")
        self._settings, self._address = settings, address
        self.login = Login(*login_of(settings, address))
        self.sentinel_login = Login(settings.sentinel_username, settings.sentinel_password)
        self.tls: ClientTls | None = None
        if uses_tls(settings, address):
            ca, cert, key = files
            self.tls = ClientTls(ca=ca, cert=cert, key=key, key_password=settings.tls_key_password)

    def reload(self, settings: RedisSettings, address: Address) -> None:
        """Use the secrets in these settings from the next connection on.

        Raises:
            InvalidArgument: more than secrets has changed, or a key cannot be decrypted.
        """
        if _without_secrets(address) != _without_secrets(self._address):
            raise InvalidArgument(
                f"the Redis URL now names {address}: restart the server to use another one"
            )
        if self.tls is not None and settings.tls_key_password != self._settings.tls_key_password:
            self.tls.use_password(settings.tls_key_password)
        self._settings = settings
        self.login.username, self.login.password = login_of(settings, address)
        self.sentinel_login.username = settings.sentinel_username
        self.sentinel_login.password = settings.sentinel_password


class ConnectionOptions(TypedDict):
    """redis-py's options for a connection."""

    credential_provider: CredentialProvider
    driver_info: DriverInfo
    protocol: int
    socket_timeout: float | None
    socket_connect_timeout: float
    retry: Retry


def connection_options(settings: RedisSettings, access: Access) -> ConnectionOptions:
    """Return redis-py's options for a connection to a server.

    They set no timeout for reads and writes: the sender has one deadline for a whole call.
    """
    return {
        "credential_provider": access.login,
        # Shown by CLIENT LIST; redis-py ignores the error of a server that does not know it.
        "driver_info": DriverInfo(name="prism", lib_version=VERSION),
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": settings.timeout.total_seconds(),
        "retry": no_retries(),
    }


class TlsConnection(SSLConnection):
    """redis-py's connection with TLS, with the present content of the files."""

    def __init__(self, *, tls: ClientTls, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.ssl_context = _PresentFiles(tls)  # type: ignore[assignment]


class SentinelTlsConnection(SentinelManagedConnection, TlsConnection):
    """The same to the master that sentinels name."""


class _PresentFiles:
    """In place of redis-py's object that loads the files once."""

    def __init__(self, tls: ClientTls) -> None:
        self._tls = tls

    def get(self) -> ssl.SSLContext:
        return self._tls.context


def login_of(settings: RedisSettings, address: Address) -> tuple[str | None, str | None]:
    """Return the user name and the password for the servers; None: there is none."""
    return settings.username or address.username, settings.password or address.password


def _without_secrets(address: Address) -> Address:
    return replace(address, username=None, password=None)
