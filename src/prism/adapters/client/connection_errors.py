"""Explains to people why a connection to a server failed or ended."""

from __future__ import annotations

import errno
import socket
import ssl

_TLS_ALERT = (b"\x15\x03", b"\x16\x03")
"""How an alert and a handshake of TLS begin."""

# Codes of OpenSSL: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_WRONG_NAMES = (62, 64)

_WANTS_CERTIFICATE = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "HANDSHAKE_FAILURE",
    "UNKNOWN_CA",
    "CERTIFICATE_UNKNOWN",
)
"""Alerts of a server that was shown no certificate, or one that it does not accept."""

_WORDS = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.ENOENT: "nothing listens there: the socket does not exist",
    errno.EACCES: "this user may not open the socket",
    errno.ETIMEDOUT: "the host does not answer",
    errno.EHOSTUNREACH: "the host cannot be reached",
    errno.ENETUNREACH: "the network of the host cannot be reached",
    errno.ECONNRESET: "the connection was reset by the server or on the way",
    errno.EPIPE: "the connection was reset by the server or on the way",
    errno.EMFILE: "this process has no descriptor left",
}


def reason_of(error: BaseException) -> str:
    """Return why a connection could not be made, or broke."""
    if isinstance(error, ExceptionGroup):
        return reason_of(error.exceptions[0])
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _WRONG_NAMES:
            return f"the certificate of the server is for another name: {error.verify_message}"
        return f"the certificate of the server is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _reason_of_tls(error)
    if isinstance(error, socket.gaierror):
        return "there is no host of this name"
    if isinstance(error, TimeoutError) and error.errno is None:
        return "the server does not answer"
    if isinstance(error, OSError):
        return _WORDS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__


def reason_of_first_bytes(data: bytes) -> str:
    """Return what is wrong with a server that did not answer as HTTP/2, from its first bytes."""
    if not data:
        return "the server closed the connection at once: it may expect TLS, or a certificate"
    if data.startswith(b"HTTP/"):
        return "the server speaks HTTP/1, not gRPC: it may be another port of the server"
    if data.startswith(_TLS_ALERT):
        return "the server speaks TLS, and this client does not"
    return "the server there does not speak HTTP/2"


def _reason_of_tls(error: ssl.SSLError) -> str:
    # Only an error of OpenSSL itself has a reason.
    name = getattr(error, "reason", None) or ""
    if any(alert in name for alert in _WANTS_CERTIFICATE):
        return f"the server does not accept this client's certificate, or asks for one ({name})"
    if name in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE"):
        return "the server does not speak TLS"
    return f"the TLS connection failed: {name or error}"
