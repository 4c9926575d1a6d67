"""The folder in which a proxy and its patterns meet."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from prism.ports import PreconditionFailed

# Of the path of the folder; what is in it adds some fifty, and a socket's path has a hundred.
_LONGEST_BYTES = 45


class PrivateFolder:
    """For this process's user alone, and gone when it is closed.

    Attributes:
        path: of its own, whether or not an earlier proxy could remove its folder.
    """

    def __init__(self) -> None:
        self.path = _parent() / f"prism-{secrets.token_hex(4)}"

    @property
    def control_socket(self) -> Path:
        """Path of the socket on which the proxy listens for its patterns."""
        return self.path / "control.sock"

    def open(self) -> None:
        """Make it.

        Raises:
            PreconditionFailed: this machine does not let us.
        """
        try:
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise PreconditionFailed(
                f"the folder {self.path} for the sockets of patterns cannot be made: "
                f"{error.strerror}; TMPDIR can name another place"
            ) from None

    def close(self) -> None:
        """Remove it with what is in it; safe when it was never made."""
        shutil.rmtree(self.path, ignore_errors=True)


def _parent() -> Path:
    """https://specifications.freedesktop.org/basedir-spec/latest/"""
    for text in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        fits = len(os.fsencode(text)) + len("/prism-01234567") <= _LONGEST_BYTES
        if text and fits and os.access(text, os.W_OK | os.X_OK):
            return Path(text)
    return Path("/tmp")  # noqa: S108  (made with a name of its own, for its owner alone)
