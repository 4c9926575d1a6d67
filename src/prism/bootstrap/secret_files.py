"""Secrets that are kept in files of their own."""

from __future__ import annotations

from pathlib import Path

from prism.ports import InvalidArgument


def read_secret(path: Path) -> str:
    """The file's text, without the one newline that editors end it with.

    Raises:
        InvalidArgument: it cannot be read, is empty, or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} is not UTF-8") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise InvalidArgument(f"{path} is empty")
    return secret
