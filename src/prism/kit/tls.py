"""TLS files of a client or server: loaded, checked, and loaded again when they change."""

from __future__ import annotations

import logging
import ssl
import subprocess
from collections.abc import Iterable
from pathlib import Path

from prism.ports import InvalidArgument

_log = logging.getLogger(__name__)

_DECRYPT_S = 10.0

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})

FileStamp = tuple[tuple[int, int, int, int] | None, ...]
"""Identity of the content of files: another one after a file was replaced or written."""


def file_stamp(paths: Iterable[Path | None]) -> FileStamp:
    """Return the stamp of some files: two stamps differ if a file has changed between them.

    Links are followed, so that a folder that Kubernetes replaces by a link is noticed.
    """
    return tuple(_stamp_of(path) for path in paths if path is not None)


def _stamp_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class ClientTls:
    """TLS files of a client, which are loaded again when they have changed.

    Args:
        ca: PEM file of the authorities to trust; None: those of the system.
        cert: PEM file of the client's own certificate, where the server asks for one.
        key: PEM file of the certificate's private key.
        key_password: password of the key, if it is encrypted.

    Raises:
        InvalidArgument: a file cannot be read or used, or only one of `cert` and `key` is
            given; names the file.
    """

    def __init__(
        self,
        *,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        key_password: str | None = None,
    ) -> None:
        self._ca, self._cert, self._key = ca, cert, key
        self._key_password = key_password
        self._stamp = file_stamp((ca, cert, key))
        self._context = self._load()

    @property
    def context(self) -> ssl.SSLContext:
        """Context for the next connection.

        Files that have changed and cannot be used are logged, once, and those loaded before
        stay in use.
        """
        stamp = file_stamp((self._ca, self._cert, self._key))
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = self._load()
            except InvalidArgument as error:
                _log.warning("%s; those loaded before stay in use", error.message)
            else:
                _log.info("the TLS files of the client have changed, and are loaded")
        return self._context

    def use_password(self, key_password: str | None) -> None:
        """Decrypt the key with another password from now on.

        Raises:
            InvalidArgument: the files cannot be used with it; nothing is changed.
        """
        before, self._key_password = self._key_password, key_password
        try:
            self._context = self._load()
        except InvalidArgument:
            self._key_password = before
            raise

    def _load(self) -> ssl.SSLContext:
        return client_tls_context(
            ca=self._ca, cert=self._cert, key=self._key, key_password=self._key_password
        )


def client_tls_context(
    *,
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    key_password: str | None = None,
) -> ssl.SSLContext:
    """Return a TLS context for connections to a server, with the files loaded and checked.

    `ClientTls` has the same context, and loads changed files again.

    Args:
        ca: PEM file of the authorities to trust; None: those of the system.
        cert: PEM file of the client's own certificate, where the server asks for one.
        key: PEM file of the certificate's private key.
        key_password: password of the key, if it is encrypted.

    Raises:
        InvalidArgument: a file cannot be read or used, or only one of `cert` and `key` is
            given; names the file.
    """
    if (cert is None) != (key is None):
        raise InvalidArgument(
            f"a TLS certificate and its key belong together: {cert or key} is given alone"
        )
    if ca is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, ca)
    if cert is not None and key is not None:
        load_certificate(context, cert, key, key_password)
    return context


def load_authorities(context: ssl.SSLContext, path: Path) -> None:
    """Trust the authorities in a PEM file.

    Raises:
        InvalidArgument: the file cannot be read, or holds no certificate.
    """
    _content(path)
    try:
        context.load_verify_locations(path)
    except OSError:
        raise InvalidArgument(f"{path} holds no certificate of an authority in PEM") from None


def load_certificate(
    context: ssl.SSLContext, cert: Path, key: Path, key_password: str | None = None
) -> None:
    """Load a certificate and its private key into the context.

    Raises:
        InvalidArgument: a file cannot be read or used, or the key is encrypted, and the password
            is missing or wrong.
    """
    asked = False

    def password() -> str:
        # OpenSSL asks for a password only if the key is encrypted, and would ask a person.
        nonlocal asked
        asked = True
        if key_password is None:
            raise _is_encrypted(key)
        return key_password

    try:
        context.load_cert_chain(cert, key, password=password)
    except (OSError, ValueError) as error:
        if asked:
            raise _wrong_password(key) from None
        raise InvalidArgument(_problem_with(cert, key, error)) from None


def _problem_with(cert: Path, key: Path, error: Exception) -> str:
    """Return why a certificate and its key cannot be loaded; OpenSSL names no file."""
    for what, path, mark in (
        ("certificate", cert, b"CERTIFICATE-----"),
        ("private key", key, b"PRIVATE KEY-----"),
    ):
        if mark not in _content(path):
            return f"{path} holds no {what} in PEM"
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"the TLS certificate {cert} and key {key} do not belong together"
    return f"the TLS certificate {cert} and key {key} cannot be used: a file is damaged"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the TLS file {path} cannot be read: {error.strerror}") from None


def tls_problem(error: ssl.SSLError) -> str:
    """Return why a server cannot be reached over TLS, as the end of a sentence about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if error.reason in _NO_TLS:
        return "it does not speak TLS"
    # Without the line of OpenSSL's source.
    return f"TLS failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"


def plain_private_key(key: Path, key_password: str | None) -> bytes:
    """Return a private key in PEM without encryption, for a library that takes no password.

    Raises:
        InvalidArgument: the key is encrypted, and the password is missing or wrong.
        OSError: the file cannot be read.
    """
    data = key.read_bytes()
    if b"ENCRYPTED" not in data:
        return data
    if key_password is None:
        raise _is_encrypted(key)
    command = ["openssl", "pkey", "-in", str(key), "-passin", "stdin"]
    try:
        done = subprocess.run(  # noqa: S603  (a program of the system, and a path)
            command,
            input=key_password.encode() + b"\n",
            capture_output=True,
            timeout=_DECRYPT_S,
            check=False,
        )
    except (FileNotFoundError, PermissionError):
        raise InvalidArgument(
            f"the private key {key} is encrypted, and the program openssl, which decrypts it, is "
            "not installed: install it, or decrypt the file"
        ) from None
    except subprocess.TimeoutExpired:
        raise InvalidArgument(f"openssl does not decrypt the private key {key} in time") from None
    if done.returncode:
        raise _wrong_password(key)
    return done.stdout


def _is_encrypted(key: Path) -> InvalidArgument:
    return InvalidArgument(
        f"the private key {key} is encrypted: give its password with tls_key_password_file, "
        f"or decrypt it, such as with 'openssl pkey -in {key} -out plain.pem', and protect the "
        "file by its mode"
    )


def _wrong_password(key: Path) -> InvalidArgument:
    return InvalidArgument(f"the password given for the private key {key} does not decrypt it")
