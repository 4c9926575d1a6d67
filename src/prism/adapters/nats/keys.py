"""Keys as subjects: any text, reversibly, and a prefix is a filter at every byte.

Each byte is a token of two hex digits, and a last token that no byte has ends the
key: `ab` is `61.62.=`. So `61.>` is every key that begins with `a`, `a` itself
included, which the server filters by itself.
"""

from __future__ import annotations

from prism.ports import MAX_KEY_BYTES

_END = ".="
_LONGEST = 3 * MAX_KEY_BYTES + len(_END)


def encode(key: str) -> str:
    """The key as subject tokens: three characters a byte, and one."""
    return key.encode().hex(".") + _END


def decode(tokens: str) -> str | None:
    """The key, or None for what no key is encoded as: somebody else's entry."""
    encoded = tokens.removesuffix(_END)
    if encoded == tokens or len(tokens) > _LONGEST:
        return None
    try:
        raw = bytes.fromhex(encoded.replace(".", ""))
        key = raw.decode()
    except ValueError:
        return None
    return key if key and raw.hex(".") == encoded else None


def subjects_under(prefix: str) -> str:
    """The filter for the keys that begin with the literal prefix."""
    return f"{prefix.encode().hex('.')}.>" if prefix else ">"
