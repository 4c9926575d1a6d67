"""Explains to people why no Prism server answers at an address.

The error of a call says what the call saw. After a failed call, one more connection finds out
whether a server with TLS listens there, so that the message can name the option that helps.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prism import TLS

_TIMEOUT_S = 2.0

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""Beginning of a connection of HTTP/2: the preface and an empty SETTINGS frame."""

_FRAME_TYPE_AT = 3
_SETTINGS = 4

_SPEAKS_TLS = (
    "the server speaks TLS: give --tls-ca FILE, or --tls if a public authority signed its "
    "certificate"
)
_SPEAKS_NO_TLS = (
    "the server does not speak TLS: leave out --tls, --tls-ca, --tls-cert and --tls-key"
)
_SPEAKS_HTTP = (
    "this port speaks plain HTTP, not gRPC: it may be the port of /metrics (9091); "
    "gRPC has another one (9090)"
)
_SPEAKS_SOMETHING_ELSE = "the server there is not a Prism server"
_NOBODY = "nothing listens there: start a server with 'prism serve', or give its --address"
_WANTS_CERTIFICATE = (
    "the server asks for a certificate of the client: give --tls-cert and --tls-key"
)
_CLOSES = (
    "the server closes the connection after the TLS handshake; it probably asks for a certificate "
    "of the client: give --tls-cert and --tls-key"
)

# Codes of OpenSSL: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_WRONG_NAMES = (62, 64)


def explain(address: str, tls: TLS | None) -> str | None:
    """Return why no Prism server answers at an address.

    Args:
        address: `host:port` or `unix:PATH`.
        tls: how the call that failed used TLS; None: not at all.

    Returns:
        None: a server is there that a client can talk to.
    """
    try:
        with _connect(address) as connection:
            return _of_plain(connection, address) if tls is None else _of_tls(address, tls)
    except socket.gaierror:
        return f"there is no host {_host_of(address)!r}: is the name right?"
    except (ConnectionRefusedError, FileNotFoundError):
        return _NOBODY
    except PermissionError:
        return "this user may not open the socket: only the user who runs the server may"
    except TimeoutError:
        return "the host does not answer: it is down, or a firewall drops the packets"
    except OSError as error:
        return error.strerror


def _of_plain(connection: socket.socket, address: str) -> str | None:
    answer = b""
    with suppress(ConnectionError, TimeoutError):
        answer = _first_bytes(connection)
    if answer.startswith(b"HTTP/1"):
        return _SPEAKS_HTTP
    if _is_http2(answer):
        return None
    # A server with TLS takes the preface for a broken handshake.
    if _speaks_tls(address):
        return _SPEAKS_TLS
    return _SPEAKS_SOMETHING_ELSE if answer else None


def _of_tls(address: str, tls: TLS) -> str | None:
    from prism.kit import client_tls_context

    context = client_tls_context(ca=tls.ca, cert=tls.cert, key=tls.key)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            _connect(address) as plain,
            context.wrap_socket(plain, server_hostname=_host_of(address)) as connection,
        ):
            # A server refuses a client without a certificate only after the handshake.
            answer = _first_bytes(connection)
            if not answer and tls.cert is None:
                return _CLOSES
            return None if _is_http2(answer) else _SPEAKS_SOMETHING_ELSE
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _WRONG_NAMES:
            return (
                f"the certificate of the server is not for {_host_of(address)!r}: "
                "give an --address with a name that the certificate has"
            )
        return (
            f"the certificate of the server is not trusted ({error.verify_message}): "
            "give the file of the authority that signed it with --tls-ca"
        )
    except ssl.SSLError as error:
        if "CERTIFICATE_REQUIRED" in (error.reason or ""):
            return _WANTS_CERTIFICATE
        return (
            f"the TLS handshake failed ({error.reason})"
            if _speaks_tls(address)
            else (_SPEAKS_NO_TLS)
        )
    except ConnectionError:
        return None if _speaks_tls(address) else _SPEAKS_NO_TLS


def _speaks_tls(address: str) -> bool:
    """Return whether the server answers a TLS handshake, with any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with _connect(address) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        # An alert is an answer of TLS too, such as one that asks for a certificate.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _first_bytes(connection: socket.socket) -> bytes:
    """Begin HTTP/2, and return the beginning of the answer; empty: the server closes."""
    connection.sendall(_PREFACE)
    answer = b""
    while len(answer) <= _FRAME_TYPE_AT + 1 and (more := connection.recv(64)):
        answer += more
    return answer


def _is_http2(answer: bytes) -> bool:
    return len(answer) > _FRAME_TYPE_AT and answer[_FRAME_TYPE_AT] == _SETTINGS


def _connect(address: str) -> socket.socket:
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_TIMEOUT_S)
        connection.connect(address.removeprefix("unix:"))
        return connection
    return socket.create_connection(
        (_host_of(address), int(address.rpartition(":")[2])), _TIMEOUT_S
    )


def _host_of(address: str) -> str:
    if address.startswith("unix:"):
        return "localhost"
    return address.rpartition(":")[0].strip("[]")
