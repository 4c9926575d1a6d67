"""TLS settings of a client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from prism.ports import InvalidArgument


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificates for a connection with TLS.

    Attributes:
        ca: PEM file of the authority to trust; None: the system's authorities.
        cert: PEM file of the client's certificate, for servers that require one.
        key: PEM file of the certificate's key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC credentials; raises InvalidArgument that names the unusable file."""
        if (self.cert is None) != (self.key is None):
            raise InvalidArgument("a TLS certificate needs its key, and a key its certificate")
        files = (_read(self.ca), _read(self.key), _read(self.cert))
        # grpc would report nothing but an unreachable server.
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
