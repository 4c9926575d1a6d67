"""What people read when a connection to a server fails."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from prism.adapters.client.connection_errors import reason_of


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed"), "nothing listens there"),
        (OSError(errno.ENODEV, "No such device"), "No such device"),
        (OSError("in words alone"), "in words alone"),
        (OSError(), "OSError"),
        (TimeoutError(), "the server does not answer"),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), "the host does not answer"),
        (socket.gaierror(), "there is no host of this name"),
        (ssl.SSLError(1, "in words alone"), "the TLS connection failed: in words alone"),
        (ExceptionGroup("", [OSError(errno.ENOENT, "No such file")]), "the socket does not exist"),
        (ValueError("port is too large"), "port is too large"),
    ],
    ids=repr,
)
def test_reason_names_the_cause(error: BaseException, words: str) -> None:
    reason = reason_of(error)
    assert words in reason
    assert "[Errno" not in reason


@pytest.mark.parametrize(("code", "words"), [(62, "for another name"), (19, "not trusted")])
def test_reason_names_what_is_wrong_with_a_certificate(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "in the words of OpenSSL"
    assert words in reason_of(error)
    assert "in the words of OpenSSL" in reason_of(error)
