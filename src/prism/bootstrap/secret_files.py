"""Secrets in files."""

from __future__ import annotations

from pathlib import Path

from prism.ports import InvalidArgument


def read_secret(path: Path) -> str:
    """Return the text of a file, without a byte order mark, and without blanks around it.

    Editors and `echo` add those; no password ends with a newline.

    Raises:
        InvalidArgument: the file cannot be read, is empty, or is not text.
    """
    secret = read_text(path).strip()
    if not secret:
        raise InvalidArgument(f"{path} is empty")
    return secret


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark.

    Raises:
        InvalidArgument: the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} is not UTF-8") from None
