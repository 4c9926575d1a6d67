"""Binds a driver's scan cursor to the prefix and options it belongs to.

A token holds no secret and is no proof: it only turns a mix-up into an error.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

from prism.ports import InvalidArgument

_BINDING_BYTES = 8


def seal(cursor: str, prefix: str, values: bool) -> str:
    """The token for the page after this one; empty at the end."""
    if not cursor:
        return ""
    return base64.urlsafe_b64encode(_binding(prefix, values) + cursor.encode()).decode()


def unseal(token: str, prefix: str, values: bool) -> str:
    """The driver's cursor in a token."""
    if not token:
        return ""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        cursor = raw[_BINDING_BYTES:].decode()
    except (UnicodeError, binascii.Error):
        cursor = ""
    if not cursor:
        raise InvalidArgument(f"the page token {token[:80]!r} is malformed; begin without one")
    if raw[:_BINDING_BYTES] != _binding(prefix, values):
        raise InvalidArgument(
            "the page token belongs to another scan: repeat the prefix and options of the "
            "page before, or begin without a token"
        )
    return cursor


def _binding(prefix: str, values: bool) -> bytes:
    return blake2b(
        prefix.encode(), digest_size=_BINDING_BYTES, person=b"v" if values else b"k"
    ).digest()
