"""A certificate authority, which issues certificates for loopback."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_NAMES = "DNS:localhost,IP:127.0.0.1"


class Authority:
    """Authority with a key of its own.

    Attributes:
        pem: its certificate.
    """

    def __init__(self, name: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="prism-authority-"))
        self._openssl(
            *("req", "-x509", *_KEY, "-nodes", "-keyout", "ca.key", "-out", "ca.pem"),
            *("-days", "2", "-subj", f"/CN={name}"),
        )
        self.pem = (self._folder / "ca.pem").read_bytes()

    def __del__(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def issue(
        self, name: str, password: str | None = None, names: str = _NAMES
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its private key, in PEM.

        Args:
            password: password to encrypt the key with; None: not encrypted.
            names: its alternative names, as openssl writes them; by default those of localhost.
        """
        (self._folder / "names").write_text(f"subjectAltName={names}\n")
        encryption = ("-nodes",) if password is None else ("-passout", f"pass:{password}")
        self._openssl(
            *("req", *_KEY, *encryption, "-keyout", "key", "-out", "csr", "-subj", f"/CN={name}")
        )
        self._openssl(
            *("x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", "cert", "-days", "2", "-extfile", "names"),
        )
        return (self._folder / "cert").read_bytes(), (self._folder / "key").read_bytes()

    def revocation_list(
        self, serials: Sequence[int], *, since: datetime | None = None, delta: bool = False
    ) -> bytes:
        """Return a list of the revoked certificates with these serial numbers, in PEM.

        Args:
            since: time of the list, which is valid for a week; None: now.
            delta: whether it says that it has only what is new.
        """
        since = since or datetime.now(UTC)
        key = load_pem_private_key((self._folder / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(self.pem).subject
        builder = x509.CertificateRevocationListBuilder(
            issuer, since, since + timedelta(days=7)
        ).add_extension(x509.CRLNumber(1), critical=False)
        if delta:
            builder = builder.add_extension(x509.DeltaCRLIndicator(1), critical=True)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder(serial, since).build()
            )
        return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)

    def write(
        self, folder: Path, name: str, password: str | None = None, names: str = _NAMES
    ) -> tuple[Path, Path]:
        """Write an issued certificate and its key into a folder, and return the two paths."""
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        for path, content in zip((cert, key), self.issue(name, password, names), strict=True):
            replace_file(path, content)
        return cert, key

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self._folder, check=True, capture_output=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step, as a program that renews certificates should."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
