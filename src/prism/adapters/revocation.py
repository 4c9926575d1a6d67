"""Lists of revoked certificates, and what identifies a certificate in them.

The standard library can hand such a list to OpenSSL, and cannot tell what is in it. The gRPC
transports take none at all. So the list is read here, and each caller's certificate is looked up.

https://www.rfc-editor.org/rfc/rfc5280#section-5
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from prism.ports import InvalidArgument

_PEM = re.compile(rb"-----BEGIN X509 CRL-----(.+?)-----END X509 CRL-----", re.DOTALL)

_INTEGER, _SEQUENCE, _UTC_TIME, _TIME, _VERSION = 0x02, 0x30, 0x17, 0x18, 0xA0
_DELTA = bytes.fromhex("0603551d1b")
"""Identifier of the extension of a list that has only what is new since another one."""


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """Lists of revoked certificates.

    Attributes:
        certificates: each revoked one, as `certificate_id` returns it.
        next_update: when the first of the lists should have been replaced; None: none says that.
    """

    certificates: frozenset[bytes]
    next_update: datetime | None


def load_revocation_lists(path: Path) -> RevocationLists:
    """Return the lists in a file, in PEM or one in DER.

    Signatures are not checked: the file is the operator's, as that of the authorities is.

    Raises:
        InvalidArgument: the file cannot be read, or has something else; names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
    try:
        blocks = [base64.b64decode(block) for block in _PEM.findall(content)] or [content]
        parsed = [_parsed(block) for block in blocks]
    except (ValueError, IndexError, binascii.Error):
        raise InvalidArgument(
            f"{path} has no list of revoked certificates: expected -----BEGIN X509 CRL-----"
        ) from None
    if any(_DELTA in block for block in blocks):
        raise InvalidArgument(f"{path} has a delta list: give the complete list of the authority")
    times = [each.next_update for each in parsed if each.next_update is not None]
    return RevocationLists(
        frozenset().union(*(each.certificates for each in parsed)), min(times, default=None)
    )


def certificate_id(certificate: bytes) -> bytes:
    """Return what no other certificate has: a hash of its authority and its serial number.

    Args:
        certificate: DER, which a transport has verified.
    """
    _, certificate_body, _ = _next(certificate, 0)
    _, fields, _ = _next(certificate_body, 0)
    elements = list(_elements(fields))
    if elements[0][0] == _VERSION:
        del elements[0]
    (_, serial, _), _, (_, _, issuer) = elements[:3]
    return _id(issuer, serial)


def _parsed(der: bytes) -> RevocationLists:
    tag, body, _ = _next(der, 0)
    _check(tag, _SEQUENCE)
    tag, fields, _ = _next(body, 0)
    _check(tag, _SEQUENCE)
    elements = list(_elements(fields))
    if elements[0][0] == _INTEGER:
        del elements[0]
    (tag, _, _), (_, _, issuer), (this_update, _, _), *rest = elements
    _check(tag, _SEQUENCE)
    _check(this_update, _UTC_TIME, _TIME)
    next_update = None
    if rest and rest[0][0] in (_UTC_TIME, _TIME):
        next_update = _time_of(*rest.pop(0)[:2])
    revoked = []
    if rest and rest[0][0] == _SEQUENCE:
        for tag, entry, _ in _elements(rest[0][1]):
            _check(tag, _SEQUENCE)
            tag, serial, _ = next(_elements(entry))
            _check(tag, _INTEGER)
            revoked.append(_id(issuer, serial))
    return RevocationLists(frozenset(revoked), next_update)


def _id(issuer: bytes, serial: bytes) -> bytes:
    return sha256(issuer + serial).digest()


def _time_of(tag: int, text: bytes) -> datetime:
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        # Two digits of the year: those from 50 on are of the last century.
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _elements(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each element: its tag, its content, and all of it."""
    place = 0
    while place < len(content):
        start = place
        tag, inner, place = _next(content, place)
        yield tag, inner, content[start:place]


def _next(data: bytes, place: int) -> tuple[int, bytes, int]:
    """Return the tag and content of the element at a place, and where it ends.

    Raises:
        ValueError, IndexError: there is none.
    """
    tag, size = data[place], data[place + 1]
    place += 2
    if size >= 0x80:
        length = size & 0x7F
        if not 0 < length <= 4:
            raise ValueError("no DER")
        size = int.from_bytes(data[place : place + length], "big")
        place += length
    end = place + size
    if end > len(data):
        raise ValueError("the data ends early")
    return tag, data[place:end], end


def _check(tag: int, *expected: int) -> None:
    if tag not in expected:
        raise ValueError(f"tag {tag} where {expected} is expected")
