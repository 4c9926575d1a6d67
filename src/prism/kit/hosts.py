"""What a host is, in settings that name one."""

from __future__ import annotations

import ipaddress

_NOT_IN_NAMES = frozenset(" /:,@[]?#\\")


def is_host(text: str) -> bool:
    """Return whether a text is the name or address of a host, without scheme, port or blanks.

    An IPv6 address may be in brackets.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return bool(text) and text.isprintable() and not _NOT_IN_NAMES & set(text)
    return True
