"""Opens a client of the library, and says in our words why it would not."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client

from prism.adapters.nats.settings import NatsSettings
from prism.ports import BackendUnavailable, InvalidArgument, Unauthenticated

ClientT = TypeVar("ClientT", bound=Client)

_PING_SECONDS = 5
_LOST_PINGS = 2
_CLOSES_WITHIN_S = 1.0
_REFUSED = re.compile("authorization|authentication", re.IGNORECASE)
_CREDENTIALS_PARTS = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")


async def dial(
    settings: NatsSettings, within_s: float, make: Callable[[], ClientT], **callbacks: Any
) -> ClientT:
    """A client that is connected to one of the servers, and never reconnects by itself.

    The library would send again, after a reconnect, what a caller has long been told
    is of unknown outcome: so a client of it serves one connection, and no more.

    Args:
        within_s: to try each server for.
        make: a client that was never connected.
        callbacks: `error_cb` and `closed_cb`, as the library has them.

    Raises:
        BackendUnavailable: no server could be reached.
        Unauthenticated: a server does not know us.
        InvalidArgument: a file named in the settings cannot be used.
    """
    options, tls = _credentials(settings), _tls(settings)
    servers = random.sample(settings.servers, len(settings.servers))
    causes: list[str] = []
    for server in servers:
        try:
            return await _dial(
                _without_credentials(server),
                within_s,
                make(),
                **callbacks,
                **(options or _credentials_in(server)),
                tls=tls,
            )
        except (nats.errors.Error, OSError) as error:
            causes.append(words(error))
            if _REFUSED.search(causes[-1]):
                raise Unauthenticated(
                    f"the NATS server at {settings.addresses} refuses our credentials"
                ) from None
        except Exception as error:
            if settings.credentials is None:
                raise
            # Their library has errors of its own for each way of being wrong.
            raise InvalidArgument(
                f"the credentials file {settings.credentials} cannot be used: "
                f"{type(error).__name__}"
            ) from None
    raise BackendUnavailable(
        f"the NATS server at {settings.addresses} cannot be reached: {'; '.join(causes)}"
    )


async def _dial(
    server: str,
    within_s: float,
    client: ClientT,
    *,
    error_cb: Callable[[Exception], Awaitable[None]],
    **options: Any,
) -> ClientT:
    seen: list[Exception] = []

    async def note(error: Exception) -> None:
        seen.append(error)
        await error_cb(error)

    try:
        async with asyncio.timeout(within_s):
            await client.connect(
                [server],
                name="prism",
                allow_reconnect=False,
                # It is tried twice, and at once; zero would mean for ever.
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=within_s,  # type: ignore[arg-type]
                pending_size=0,
                ping_interval=_PING_SECONDS,
                max_outstanding_pings=_LOST_PINGS,
                error_cb=note,
                **options,
            )
    except BaseException as error:
        await hang_up(client)
        if isinstance(error, nats.errors.NoServersError) and seen:
            raise seen[-1] from None
        if isinstance(error, TimeoutError):
            raise TimeoutError(f"no answer within {within_s:g} s") from None
        raise
    return client


async def hang_up(client: Client) -> None:
    """Close the client, in whichever state it is."""
    with suppress(nats.errors.Error, OSError, TimeoutError, AssertionError):
        async with asyncio.timeout(_CLOSES_WITHIN_S):
            await client.close()


def words(error: Exception) -> str:
    """What the library says, less its name."""
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


def _credentials(settings: NatsSettings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.credentials is not None:
        _check_credentials(settings.credentials)
        options["user_credentials"] = str(settings.credentials)
    if settings.user is not None:
        options.update(user=settings.user, password=settings.password)
    if settings.token is not None:
        options["token"] = settings.token
    return options


def _credentials_in(url: str) -> dict[str, Any]:
    """Decoded, which the library leaves undone."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    if parts.password is None:
        return {"token": unquote(parts.username)}
    return {"user": unquote(parts.username), "password": unquote(parts.password)}


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _check_credentials(path: Path) -> None:
    """The library would look for a missing part for ever."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"the credentials file {path} cannot be read: {error.strerror}"
        ) from None
    if any(part not in content for part in _CREDENTIALS_PARTS):
        raise InvalidArgument(f"the file {path} is no credentials file: make one with nsc")


def _tls(settings: NatsSettings) -> ssl.SSLContext | None:
    files = (settings.tls_ca, settings.tls_cert, settings.tls_key)
    if not any(files) and not any(url.startswith("tls:") for url in settings.servers):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
        if settings.tls_cert is not None:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:
        named = ", ".join(str(path) for path in files if path)
        raise InvalidArgument(f"the TLS files {named} cannot be used: {error}") from None
    return context
