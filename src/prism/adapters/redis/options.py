"""What redis-py is told about a connection: who we are, TLS, and no retries."""

from __future__ import annotations

import ssl
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo

from prism.adapters.redis.address import Address
from prism.adapters.redis.profile import VERSION
from prism.adapters.redis.settings import RedisSettings
from prism.ports import InvalidArgument


def connection_options(settings: RedisSettings, address: Address) -> dict[str, Any]:
    """The options of every connection to a server.

    Reads and writes have no timeout of their own: whoever sends sets one deadline
    for the whole call.

    Raises:
        InvalidArgument: a TLS file cannot be used.
    """
    return {
        "username": settings.username or address.username,
        "password": settings.password or address.password,
        # What CLIENT LIST shows; a server that does not know how is not asked twice.
        "driver_info": DriverInfo(name="prism", lib_version=VERSION),
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": settings.timeout.total_seconds(),
        **tls_options(settings, address),
    }


def no_retries() -> Retry:
    """redis-py would repeat writes too, ten times, and each may be applied."""
    return Retry(NoBackoff(), 0)


def talks_tls(settings: RedisSettings, address: Address) -> bool:
    """Either of the two asks for it."""
    return settings.tls or address.tls


def tls_options(settings: RedisSettings, address: Address) -> dict[str, Any]:
    """The files of TLS, checked here and now; nothing where TLS is off."""
    paths = {
        "ssl_ca_certs": settings.tls_ca,
        "ssl_certfile": settings.tls_cert,
        "ssl_keyfile": settings.tls_key,
    }
    files = {name: str(path) for name, path in paths.items() if path is not None}
    if files and not talks_tls(settings, address):
        raise InvalidArgument("TLS files are given and TLS is off; set tls to true, or use rediss")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InvalidArgument("redis settings tls_cert and tls_key: each needs the other")
    check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if settings.tls_ca is not None:
            check.load_verify_locations(settings.tls_ca)
        if settings.tls_cert is not None:
            check.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, OSError) as error:
        named = ", ".join(files.values())
        raise InvalidArgument(f"the TLS files {named} cannot be used: {error}") from None
    return files
