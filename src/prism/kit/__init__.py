"""Helpers for driver authors: rules that most drivers have in common.

A driver may use these or its own code; the acceptance suite tests the behaviour, not the
means. This package imports `prism.ports` and the standard library alone.
"""

from __future__ import annotations

import logging
import re
import ssl
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Never

from prism.kit.watchers import Watchers
from prism.ports import (
    INT64_MAX,
    INT64_MIN,
    Entry,
    Exhausted,
    InvalidArgument,
    Limits,
    NotServing,
    PreconditionFailed,
    PrismError,
    Version,
    VersionConflict,
)

__all__ = [
    "DEFAULT_PAGE_SIZE",
    "Closed",
    "ReplyBudget",
    "Watchers",
    "add_to_counter",
    "clamp_page_size",
    "client_tls_context",
    "closed",
    "does_not_fit",
    "load_certificate",
    "version_conflict",
]

DEFAULT_PAGE_SIZE = 100
"""Keys in a page of a scan when the caller leaves the size to the backend."""

_log = logging.getLogger(__name__)

_DECRYPT_S = 10.0

_CANONICAL_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class Closed:
    """Placeholder for a resource that is not open: every use of it raises `NotServing`.

    See `closed`.
    """

    __slots__ = ("_closed_what",)

    def __init__(self, what: str) -> None:
        self._closed_what = what

    def __getattr__(self, name: str) -> Never:
        raise NotServing(
            f"{self._closed_what} is not open: it is not initialized yet, or was stopped"
        )


def closed(what: str) -> Any:
    """Return a placeholder for a resource that is not open.

    A driver assigns it where its connection will be. Its operations then need no check of
    their own: before `initialize` and after `stop`, any attribute or method of the
    placeholder raises `NotServing`.

        _CLOSED = closed("the file")

        class Driver:
            def __init__(self) -> None:
                self._file: File = _CLOSED

            async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
                file, self._file = self._file, _CLOSED
                if file is not _CLOSED:
                    await file.close()

    Args:
        what: subject of the error message, such as "the file".

    Returns:
        A `Closed`, typed so that it can stand for a resource of any type.
    """
    return Closed(what)


def add_to_counter(stored: bytes | None, delta: int) -> int:
    """Return the number after an increment, by the rules of `Counter.increment`.

    Store the result as `b"%d" % number`: that is the canonical decimal text.

    Args:
        stored: value of the key; None when the key is absent, which counts as 0.
        delta: signed 64-bit integer to add.

    Raises:
        PreconditionFailed: `NOT_AN_INTEGER` when the stored value is not a signed 64-bit
            integer in canonical decimal text; `OVERFLOW` when the sum is not one.
    """
    if stored is None:
        return delta
    number = int(stored) if _CANONICAL_INTEGER.fullmatch(stored) else None
    if number is None or not INT64_MIN <= number <= INT64_MAX:
        raise PreconditionFailed(
            "the value is not a 64-bit integer in canonical decimal text", reason="NOT_AN_INTEGER"
        )
    total = number + delta
    if not INT64_MIN <= total <= INT64_MAX:
        raise PreconditionFailed(
            f"{number} plus {delta} does not fit a signed 64-bit integer", reason="OVERFLOW"
        )
    return total


def version_conflict(expected: Version | None) -> VersionConflict:
    """Return the error of a compare-and-set whose key is not as expected.

    Args:
        expected: version that the key should have; None: it should be absent.
    """
    if expected is None:
        return VersionConflict("the key exists, and the write requires it to be absent")
    return VersionConflict("the key is absent, or has another version than the one expected")


class ReplyBudget:
    """Number of bytes that the values of one `get_many` reply may still take.

    A value that does not fit fails its own item with `Exhausted`; a later, smaller value
    may still fit.

    Args:
        max_bytes: size of the budget; for a driver its `Limits.max_batch_bytes`.
        entry_overhead: bytes that each entry takes beside its value.
    """

    def __init__(self, max_bytes: int, *, entry_overhead: int = 0) -> None:
        self._left = max_bytes
        self._entry_overhead = entry_overhead

    def take(self, value_bytes: int) -> bool:
        """Take the bytes of one value; False, and nothing taken, when it does not fit.

        For backends that tell the size of a value before it is fetched.
        """
        size = value_bytes + self._entry_overhead
        if size > self._left:
            return False
        self._left -= size
        return True

    def limit(
        self, outcomes: Iterable[Entry | PrismError | None]
    ) -> list[Entry | PrismError | None]:
        """Return the outcomes, with each entry that does not fit replaced by `Exhausted`.

        The iterable is read one outcome at a time, so a generator that fetches them never
        has two values in memory that do not fit.
        """
        left, overhead = self._left, self._entry_overhead
        limited: list[Entry | PrismError | None] = []
        for outcome in outcomes:
            if isinstance(outcome, Entry):
                size = len(outcome.value) + overhead
                if size > left:
                    limited.append(does_not_fit())
                    continue
                left -= size
            limited.append(outcome)
        self._left = left
        return limited


def does_not_fit() -> Exhausted:
    """Return the error of an item whose value does not fit the reply of its batch."""
    return Exhausted("the value does not fit this reply: get fewer keys at once")


def clamp_page_size(page_size: int, limits: Limits) -> int:
    """Return the number of keys that a page of `Scan.scan` may have.

    Args:
        page_size: number that the caller asks for; 0 leaves it to the backend.
        limits: limits of the backend; more than `max_page_size` is clamped to that.
    """
    return min(page_size or DEFAULT_PAGE_SIZE, limits.max_page_size)


FileStamp = tuple[tuple[int, int, int, int] | None, ...]
"""What changes when one of several files is replaced or written."""


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
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise InvalidArgument(f"the TLS file {ca} cannot be used: {error}") from None
    if cert is not None and key is not None:
        try:
            load_certificate(context, cert, key, key_password)
        except OSError as error:
            raise InvalidArgument(
                f"the TLS files {cert} and {key} cannot be used: {error}"
            ) from None
    return context


def load_certificate(
    context: ssl.SSLContext, cert: Path, key: Path, key_password: str | None = None
) -> None:
    """Load a certificate and its private key into the context.

    Raises:
        InvalidArgument: the key is encrypted, and the password is missing or wrong.
        OSError: a file cannot be read or used.
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
    except (ssl.SSLError, ValueError):
        if asked:
            raise _wrong_password(key) from None
        raise


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
