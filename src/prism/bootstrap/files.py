"""Files that configure a server: their text, and who else may write or read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
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


def check_unnamed_config(path: Path) -> None:
    """Raise InvalidArgument if another user may have written a config file that nobody named.

    It is read because it lies in the working folder, such as /tmp, so a stranger could place
    one there. A file that the operator names is read anyway, with a warning.
    """
    problem = writable_by_others(path)
    if problem:
        raise InvalidArgument(
            f"the config file {path} in the working folder is not read, because {problem}: "
            f"name it with --config, or set its mode to 644"
        )


def writable_by_others(path: Path) -> str:
    """Return who else may write the file, as the end of a sentence; empty: nobody."""
    try:
        status = path.stat()
    except OSError:
        return ""
    if not stat.S_ISREG(status.st_mode):
        return ""
    if status.st_mode & stat.S_IWOTH:
        return f"every user may write it (mode {_mode(status)})"
    if status.st_uid not in (0, os.getuid()):
        return f"it belongs to another user (id {status.st_uid})"
    return ""


def warnings_about(config: Path | None, secrets: Iterable[Path]) -> list[str]:
    """Return warnings about a config file that others may write, and secrets that they may read."""
    found = []
    if config is not None and (problem := writable_by_others(config)):
        found.append(f"the config file {config} is not safe: {problem}")
    for path in secrets:
        try:
            status = path.stat()
        except OSError:
            continue
        if status.st_mode & stat.S_IROTH:
            found.append(
                f"every user of this machine may read the secret in {path} (mode {_mode(status)}): "
                "set its mode to 600 or 640"
            )
    return found


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):o}"
