"""Secrets in files."""

from __future__ import annotations

from pathlib import Path

from prism.ports import InvalidArgument


def read_secret(path: Path) -> str:
    """Return the text of a file, without the newline at its end.

    Raises:
        InvalidArgument: the file cannot be read, is empty, or is not text.
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
