"""TLS files of a server: checked, and read as the transports take them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prism.kit import file_stamp, load_authorities, load_certificate, plain_private_key
from prism.ports import InvalidArgument


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """Content of the TLS files, in PEM.

    Attributes:
        key: private key, without encryption.
        client_ca: authorities that must have signed a client's certificate; None: clients
            need none.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


@dataclass(frozen=True, slots=True)
class ServerTls:
    """Certificate files in PEM.

    Attributes:
        client_ca: authority that must have signed a client's certificate; None: clients need
            none.
        key_password: password of the key, if it is encrypted.
        min_version: least version of TLS.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    min_version: Literal["1.2", "1.3"] = "1.2"

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        return tuple(path for path in (self.cert, self.key, self.client_ca) if path is not None)

    def load(self) -> TlsMaterial:
        """Read the files; raise InvalidArgument that names one that cannot be used."""
        before = file_stamp(self.files)
        self._check()
        try:
            material = TlsMaterial(
                self.cert.read_bytes(),
                plain_private_key(self.key, self.key_password),
                None if self.client_ca is None else self.client_ca.read_bytes(),
            )
        except OSError as error:
            raise InvalidArgument(
                f"the TLS file {error.filename} cannot be read: {error.strerror}"
            ) from None
        if file_stamp(self.files) != before:
            # What was read may not be what was checked.
            raise InvalidArgument("the TLS files change while they are read; try again")
        return material

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_certificate(context, self.cert, self.key, self.key_password)
        if self.client_ca is not None:
            load_authorities(context, self.client_ca)
