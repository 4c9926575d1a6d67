"""How a client talks TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from prism.ports import InvalidArgument


@dataclass(frozen=True, slots=True)
class TLS:
    """How to talk TLS to a server.

    Attributes:
        ca: PEM file of the authority to trust; None: those of the system.
        cert: PEM file of our own certificate, where the server wants one.
        key: PEM file of its key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises InvalidArgument that names a file which cannot be read."""
        if (self.cert is None) != (self.key is None):
            raise InvalidArgument("a TLS certificate needs its key, and a key its certificate")
        files = (_read(self.ca), _read(self.key), _read(self.cert))
        # grpc would say no more than that nobody answers.
        check = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if self.ca is not None:
                check.load_verify_locations(self.ca)
            if self.cert is not None:
                check.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as error:
            named = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path)
            raise InvalidArgument(f"the TLS files {named} cannot be used: {error}") from None
        return grpc.ssl_channel_credentials(*files)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the TLS file {path} cannot be read: {error.strerror}") from None
