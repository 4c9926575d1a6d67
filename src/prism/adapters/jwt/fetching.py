"""Gets the documents of an issuer over HTTPS, without a thread that could outlive the server."""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from urllib.parse import SplitResult, urlsplit

import h11

from prism.domain.addresses import is_loopback
from prism.ports import InvalidArgument

_MAX_BYTES = 1 << 20
_READ_BYTES = 64 << 10


def check_url(what: str, url: str) -> None:
    """Raise InvalidArgument unless what comes from this URL can be trusted."""
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or parts.username is not None or not url.isascii() or not url.isprintable():
        raise InvalidArgument(f"{what} is not the URL of a server, such as https://id.example.com")
    if parts.scheme != "https" and not (
        parts.scheme == "http" and is_loopback(str(parts.hostname))
    ):
        raise InvalidArgument(
            f"{what} is {url}; it must begin with https://, since keys that come without TLS can "
            "be replaced on the way"
        )


async def content_at(url: str) -> bytes:
    """Return the content at a URL that `check_url` has let pass.

    An answer that leads elsewhere is an error.

    Raises:
        InvalidArgument: there is no such content, or too much; names the URL.
    """
    parts = urlsplit(url)
    context = await asyncio.to_thread(_trust) if parts.scheme == "https" else None
    port = parts.port or (443 if context else 80)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        try:
            http = h11.Connection(h11.CLIENT)
            writer.write(_request(http, parts))
            return await _content_from(reader, http, url)
        finally:
            writer.close()
    except (OSError, h11.ProtocolError) as error:
        raise InvalidArgument(f"{url} cannot be read: {error}") from None


@cache
def _trust() -> ssl.SSLContext:
    """Return the authorities that the system trusts; reading them takes a while."""
    return ssl.create_default_context()


def _request(http: h11.Connection, parts: SplitResult) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("host", parts.netloc), ("accept", "application/json"), ("connection", "close")]
    sent = http.send(h11.Request(method="GET", target=target, headers=headers))
    return (sent or b"") + (http.send(h11.EndOfMessage()) or b"")


async def _content_from(reader: asyncio.StreamReader, http: h11.Connection, url: str) -> bytes:
    content = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise InvalidArgument(f"{url} answers {event.status_code}")
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > _MAX_BYTES:
                raise InvalidArgument(f"{url} has more than {_MAX_BYTES:,} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return content
        elif isinstance(event, h11.ConnectionClosed):
            raise InvalidArgument(f"{url} closes the connection without an answer")
