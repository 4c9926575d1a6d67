"""Rules of a scan: page tokens that belong to their scan, and pages within our own limits."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from hashlib import blake2b

from prism.domain.batches import ENTRY_OVERHEAD_BYTES
from prism.kit import clamp_page_size
from prism.ports import InvalidArgument, Limits, Page, Scan

_BINDING_BYTES = 8


def seal(cursor: str, prefix: str, values: bool) -> str:
    """Return the page token for a driver's cursor; empty at the end of the scan.

    The token contains a digest of the prefix and the options, so that a mix-up becomes an
    error. It is neither secret nor protected against forgery.
    """
    if not cursor:
        return ""
    return base64.urlsafe_b64encode(_binding(prefix, values) + cursor.encode()).decode()


def unseal(token: str, prefix: str, values: bool) -> str:
    """Return the driver's cursor in a page token.

    Raises:
        InvalidArgument: the token is malformed or belongs to another scan.
    """
    if not token:
        return ""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        cursor = raw[_BINDING_BYTES:].decode()
    except (UnicodeError, binascii.Error):
        cursor = ""
    if not cursor:
        raise InvalidArgument(f"the page token {token[:80]!r} is malformed; begin without a token")
    if raw[:_BINDING_BYTES] != _binding(prefix, values):
        raise InvalidArgument(
            "the page token belongs to another scan: repeat the prefix and options of the "
            "page before, or begin without a token"
        )
    return cursor


async def read_page(
    port: Scan, limits: Limits, *, prefix: str, page_size: int, cursor: str, values: bool
) -> Page:
    """Return a page from a driver that is within these limits.

    A driver keeps its own limit on bytes, which may be larger than ours. A page that is too
    large is read again with fewer keys.
    """
    size = clamp_page_size(page_size, limits)
    while True:
        page = await port.scan(prefix, page_size=size, page_token=cursor, values=values)
        if size == 1 or _page_bytes(page) <= limits.max_batch_bytes:
            return replace(page, next_token=seal(page.next_token, prefix, values))
        size = max(min(size, len(page.keys)) // 2, 1)


def _page_bytes(page: Page) -> int:
    """Return the approximate size of a page in a reply; 0 without values."""
    if page.entries is None:
        return 0
    values = sum(len(entry.value) + ENTRY_OVERHEAD_BYTES for entry in page.entries)
    return values + sum(map(len, page.keys))


def _binding(prefix: str, values: bool) -> bytes:
    return blake2b(
        prefix.encode(), digest_size=_BINDING_BYTES, person=b"v" if values else b"k"
    ).digest()
