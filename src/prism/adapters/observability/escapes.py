"""Text of others on one line of ours."""

from __future__ import annotations

_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}


def escaped(text: str) -> str:
    """The text with its control characters told instead of sent.

    A line of it stays one line, and nothing in it steers a terminal.
    """
    return text.translate(_ESCAPES)
