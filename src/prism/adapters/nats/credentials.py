"""Credentials and TLS of a connection, in the form that nats-py takes."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict
from urllib.parse import unquote, urlsplit

from prism.adapters.nats.settings import NatsSettings
from prism.kit import ClientTls
from prism.ports import InvalidArgument

_CREDENTIALS_FILE_PARTS = (b"BEGIN NATS USER JWT", b"BEGIN USER NKEY SEED")


class Credentials(TypedDict, total=False):
    """Arguments of nats-py's `connect`; empty: none."""

    user: str
    password: str | None
    token: str
    user_credentials: str


def in_settings(settings: NatsSettings) -> Credentials:
    """Return the credentials outside the URL.

    Raises:
        InvalidArgument: the credentials file cannot be used.
    """
    credentials = Credentials()
    if settings.credentials is not None:
        _check_credentials_file(settings.credentials)
        credentials["user_credentials"] = str(settings.credentials)
    if settings.user is not None:
        credentials["user"] = settings.user
        credentials["password"] = settings.password
    if settings.token is not None:
        credentials["token"] = settings.token
    return credentials


def has_credentials(settings: NatsSettings) -> bool:
    """Return whether the driver logs in, in whatever way."""
    ways = (settings.credentials, settings.user, settings.token, settings.tls_cert)
    in_urls = (split_url(url)[1] for url in settings.servers)
    return any(way is not None for way in ways) or any(in_urls)


def split_url(url: str) -> tuple[str, Credentials]:
    """Return the URL without its credentials, and these decoded, which nats-py does not do."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.username is None:
        return bare, {}
    if parts.password is None:
        return bare, {"token": unquote(parts.username)}
    return bare, {"user": unquote(parts.username), "password": unquote(parts.password)}


def tls_of(settings: NatsSettings) -> ClientTls | None:
    """Return the TLS files; None: neither a URL nor a setting asks for TLS.

    Raises:
        InvalidArgument: a TLS file cannot be used.
    """
    ca, cert, key = settings.tls_ca, settings.tls_cert, settings.tls_key
    if not (ca or cert or key) and not any(url.startswith("tls:") for url in settings.servers):
        return None
    return ClientTls(ca=ca, cert=cert, key=key, key_password=settings.tls_key_password)


def _check_credentials_file(path: Path) -> None:
    """Refuse a file with a part missing, which nats-py would search for without end."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"the credentials file {path} cannot be read: {error.strerror}"
        ) from None
    if any(part not in content for part in _CREDENTIALS_FILE_PARTS):
        raise InvalidArgument(f"{path} is not a NATS credentials file: create one with nsc")
